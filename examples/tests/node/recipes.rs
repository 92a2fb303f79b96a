//! `examples/redis` and `examples/nginx`: the servers of Debian follow the role, as their own clients
//! see it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ha_lab::{Node, installed_or_skip, within};

use crate::SOON;
use crate::rig::{MODULE, PROMPT, Rig, Vote};

/// Gives a node a recipe's scripts, with settings of its own.
fn install(node: &Node, recipe: &str, settings: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(recipe).join("scripts");
    let to = node.scripts(MODULE);
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    fs::write(to.join("settings"), settings).unwrap();
}

/// A pair with one module of these scripts and the addresses of the rig.
fn configure(rig: &Rig) {
    let vips = rig.addresses().map(|at| format!("{{ address = \"{at}\", interface = \"eth0\" }}"));
    for node in [0, 1] {
        let module = format!(
            "[[module]]\nname = \"{MODULE}\"\nid = 0\nbootstrap = {}\nscripts = \"{}\"\n\
             start_timeout = \"30s\"\nstop_timeout = \"30s\"\nvips = [{}]\n",
            node == 0,
            rig.nodes[node].scripts(MODULE).display(),
            vips.join(", ")
        );
        rig.write(node, PROMPT, &module);
    }
}

/// What a program on the client prints, whether it succeeds or not.
fn client(rig: &Rig, program: &str, arguments: &[&str]) -> String {
    let output = rig.client.command(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until a program on the client prints it.
fn until_prints(rig: &Rig, program: &str, arguments: &[&str], expected: &str) {
    let prints = || client(rig, program, arguments) == expected;
    assert!(within(SOON, prints), "{program} {arguments:?}: {}", client(rig, program, arguments));
}

#[test]
fn redis_follows_the_role_and_keeps_its_data() {
    if !installed_or_skip(&["redis-server", "redis-cli"]) {
        return;
    }
    let Some(mut rig) = Rig::new("redis", Vote::Arbiter, 1) else { return };
    for node in [0, 1] {
        let folder = rig.nodes[node].folder().to_owned();
        let (data, config) = (folder.join("data"), folder.join("redis.conf"));
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(&config, "save \"\"\nappendonly yes\nrepl-diskless-sync-delay 0\n").unwrap();
        let settings = format!(
            "PEER={}\nPORT=6379\nCONFIG={}\nDATA={}\nRUN={}\nAS=redis\nUNIT=\n",
            rig.hosts[1 - node].v4(&rig.networks[0]),
            config.display(),
            data.display(),
            folder.join("redis-run").display()
        );
        install(&rig.nodes[node], "redis", &settings);
    }
    configure(&rig);
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    let [vip, _] = rig.addresses().map(|address| address.to_string());
    let own = [0, 1].map(|node: usize| rig.hosts[node].v4(&rig.networks[0]).to_string());
    until_prints(&rig, "redis-cli", &["-h", &vip, "set", "k", "first"], "OK");
    until_prints(&rig, "redis-cli", &["-h", &own[1], "get", "k"], "first");
    // A replica takes no writes.
    assert!(client(&rig, "redis-cli", &["-h", &own[1], "set", "k", "x"]).starts_with("READONLY"));
    rig.daemon(0).kill().unwrap();
    rig.until_role(1, &["Alone ready"]);
    until_prints(&rig, "redis-cli", &["-h", &vip, "get", "k"], "first");
    until_prints(&rig, "redis-cli", &["-h", &vip, "set", "k", "second"], "OK");
    until_prints(&rig, "redis-cli", &["-h", &own[0], "ping"], "");
    rig.start(0);
    rig.until_whole(1);
    until_prints(&rig, "redis-cli", &["-h", &own[0], "get", "k"], "second");
    rig.daemon(1).terminate().unwrap();
    rig.daemon(1).wait(SOON).unwrap().expect("it ends in order");
    rig.until_role(0, &["Alone ready"]);
    until_prints(&rig, "redis-cli", &["-h", &vip, "get", "k"], "second");
    until_prints(&rig, "redis-cli", &["-h", &vip, "set", "k", "third"], "OK");
    rig.start(1);
    rig.until_whole(0);
    until_prints(&rig, "redis-cli", &["-h", &own[1], "get", "k"], "third");
}

#[test]
fn nginx_runs_where_the_module_is_primary() {
    if !installed_or_skip(&["nginx", "curl"]) {
        return;
    }
    let Some(mut rig) = Rig::new("nginx", Vote::Arbiter, 1) else { return };
    let [vip, vip6] = rig.addresses().map(|address| address.to_string());
    for node in [0, 1] {
        let folder = rig.nodes[node].folder().to_owned();
        let (config, pid) = (folder.join("nginx.conf"), folder.join("nginx.pid"));
        let socket = folder.join("nginx.sock");
        fs::write(&config, nginx(&folder, &vip, &vip6, rig.hosts[node].name())).unwrap();
        let settings = format!(
            "CONFIG={}\nPID={}\nSOCKETS={}\nUNIT=\n",
            config.display(),
            pid.display(),
            socket.display()
        );
        install(&rig.nodes[node], "nginx", &settings);
        // As a crash leaves them.
        fs::write(&pid, "1\n").unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    }
    configure(&rig);
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    let urls = [format!("http://{vip}/"), format!("http://[{vip6}]/")];
    let served_by = |rig: &Rig, name: &str| {
        for url in &urls {
            until_prints(rig, "curl", &["-s", "-m", "1", url], name);
        }
    };
    served_by(&rig, "a");
    rig.daemon(0).kill().unwrap();
    rig.until_role(1, &["Alone ready"]);
    served_by(&rig, "b");
    rig.start(0);
    rig.until_whole(1);
    rig.daemon(1).terminate().unwrap();
    rig.daemon(1).wait(SOON).unwrap().expect("it ends in order");
    rig.until_role(0, &["Alone ready"]);
    served_by(&rig, "a");
    let events = rig.nodes[1].group().join("cgroup.events");
    let group = || fs::read_to_string(&events).unwrap();
    assert!(within(SOON, || group().contains("populated 0")), "b left something: {}", group());
}

fn nginx(folder: &Path, vip: &str, vip6: &str, name: &str) -> String {
    let folder = folder.display();
    format!(
        "pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nworker_processes 1;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n\
         access_log off;\n\
         client_body_temp_path {folder}/t1;\nproxy_temp_path {folder}/t2;\n\
         fastcgi_temp_path {folder}/t3;\nuwsgi_temp_path {folder}/t4;\nscgi_temp_path {folder}/t5;\n\
         server {{\nlisten {vip}:80;\nlisten [{vip6}]:80;\nlisten unix:{folder}/nginx.sock;\n\
         location / {{ return 200 \"{name}\"; }}\n}}\n}}\n"
    )
}
