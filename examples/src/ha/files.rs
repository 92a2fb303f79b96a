//! The commands that look at files, or make them.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use clap::CommandFactory;
use ha_core::control::protocol::{Reply, Request};
use ha_core::control::{Exit, Refused};

use super::args::{Config, Ha};
use super::ask;
use super::output::Output;
use super::run::{At, End};
use ha_core::linux::node::check::{Open, check};
use ha_core::linux::node::config::Node;
use ha_core::linux::node::effective::{self, effective};
use ha_core::linux::node::farm::config::FarmNode;
use ha_core::linux::node::farm::daemon::check as check_farm;
use ha_core::linux::node::farm::effective::effective as farm_effective;

/// Reads a node's files.
pub(super) fn node(file: &Path) -> Result<Node, Refused> {
    Node::read(file).map_err(|error| Refused::new(Exit::Config, error.to_string()))
}

/// Reads the file of a farm's node.
pub(super) fn farm(file: &Path) -> Result<FarmNode, Refused> {
    FarmNode::read(file).map_err(|error| Refused::new(Exit::Config, error.to_string()))
}

/// Whether a file is a farm's: it has members.
pub(super) fn is_farm(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("member"))
}

pub(super) fn config(at: &At<'_>, action: &Config) -> Result<End, Refused> {
    match action {
        Config::Check { file } if is_farm(file) => {
            let node = farm(file)?;
            fine(at, file, &node.raw.module, check_farm(&node))?;
        }
        Config::Check { file } => {
            let node = node(file)?;
            let modules: Vec<&str> = node.modules.iter().map(|it| &*it.name).collect();
            fine(at, file, &modules.join(", "), check(&node, Open::Unknown))?;
        }
        Config::Show { effective: true, file } => {
            let file = file.as_deref().unwrap_or(Path::new(effective::DEFAULT));
            let text = if is_farm(file) {
                farm_effective(&farm(file)?, None)
            } else {
                effective(&node(file)?)
            };
            at.output.say(text.trim_end().into());
        }
        Config::Show { effective: false, file: Some(file) } => {
            if is_farm(file) {
                drop(farm(file)?);
            } else {
                drop(node(file)?);
            }
            let text = fs::read_to_string(file).map_err(|error| failed(file, &error))?;
            at.output.say(text.trim_end().into());
        }
        Config::Show { effective: false, file: None } => {
            let answer = ask::once(at.socket, &Request::Config)?;
            let Reply::Config(texts) = &answer else { return Err(ask::strange(&answer)) };
            if at.output.json {
                Output::json(&answer);
            } else {
                Output::line(texts.running.trim_end());
            }
            if texts.differs {
                Output::note(&format!("ha: {} says something else than what runs", texts.path));
            }
        }
    }
    Ok(End::Exit(Exit::Done))
}

/// A file that can be read; whether what it says can be run here is another thing.
fn fine(
    at: &At<'_>,
    file: &Path,
    modules: &str,
    here: Result<(), impl core::fmt::Display>,
) -> Result<(), Refused> {
    at.output.say(format!("{}: fine: {modules}", file.display()));
    here.map_err(|error| {
        let text = format!("a daemon could not run it on this machine: {error}");
        Refused::new(Exit::Config, text)
    })
}

/// 32 random bytes as 64 digits, in a new file that only its owner reads.
pub(super) fn keygen(at: &At<'_>, file: &Path) -> Result<End, Refused> {
    let mut bytes = [0; 32];
    let random = File::open("/dev/urandom").and_then(|mut it| it.read_exact(&mut bytes));
    random.map_err(|error| failed(Path::new("/dev/urandom"), &error))?;
    let mut digits = String::with_capacity(64);
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("a text takes all");
    }
    let new = OpenOptions::new().write(true).create_new(true).mode(0o400).open(file);
    let mut new = new.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let text = format!("{}: it exists, and a key is never overwritten", file.display());
            Refused::new(Exit::Failed, text)
        }
        _ => failed(file, &error),
    })?;
    let written = writeln!(new, "{digits}").and_then(|()| new.sync_all());
    if let Err(error) = written {
        // Half a key is none.
        let _ = fs::remove_file(file);
        return Err(failed(file, &error));
    }
    at.output.say(format!("{}: copy it to all other nodes, and to the witness", file.display()));
    Ok(End::Exit(Exit::Done))
}

/// What lies beside the modules' logs.
pub(super) fn set_aside(at: &At<'_>, config: &Path, module: Option<&str>) -> Result<End, Refused> {
    let node = node(config)?;
    let known: Vec<&str> = node.modules.iter().map(|it| &*it.name).collect();
    if let Some(wanted) = module.filter(|wanted| !known.contains(wanted)) {
        let text = format!("no module {wanted:?}: there are {}", known.join(", "));
        return Err(Refused::new(Exit::Usage, text));
    }
    let mut any = false;
    for name in known.into_iter().filter(|name| module.is_none_or(|wanted| wanted == *name)) {
        let home = node.raw.state.join(name);
        for line in kept(&home).map_err(|error| failed(&home, &error))? {
            at.output.say(format!("{name}  {line}"));
            any = true;
        }
    }
    if !any {
        at.output.say("nothing is kept aside".into());
    }
    Ok(End::Exit(Exit::Done))
}

/// `aside-<epoch>-<first record>`, oldest reign first.
fn kept(home: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.strip_prefix("aside-").unwrap_or_default().split('-');
        let numbers = [parts.next(), parts.next()]
            .map(|part| part.and_then(|digits| u64::from_str_radix(digits, 16).ok()));
        if let [Some(epoch), Some(first)] = numbers {
            folders.push((epoch, first, entry.path()));
        }
    }
    folders.sort();
    let line = |(epoch, first, path): (u64, u64, std::path::PathBuf)| {
        let bytes = size(&path)?;
        let epoch = ha_core::proto::Epoch::from_bits(epoch);
        Ok(format!("from record {first} of epoch {epoch}  {bytes} bytes  {}", path.display()))
    };
    folders.into_iter().map(line).collect()
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.try_fold(0, |sum, file| Ok(sum + file?.metadata()?.len()))
}

pub(super) fn man(at: &At<'_>, folder: &Path) -> Result<End, Refused> {
    let made =
        fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Ha::command(), folder));
    made.map_err(|error| failed(folder, &error))?;
    at.output.say(format!("{}: written", folder.display()));
    Ok(End::Exit(Exit::Done))
}

fn failed(path: &Path, error: &io::Error) -> Refused {
    Refused::new(Exit::Failed, format!("{}: {error}", path.display()))
}
