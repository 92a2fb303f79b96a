//! The services of one server, which answer with its number.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use ha_lab::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::{IPID, NET, PORT, STICKY, UDP, UDP_STICKY, UNCOVERED};

/// Several full packets.
pub(crate) const BULK: usize = 64 << 10;

/// They end when it is dropped.
pub(crate) struct Servers {
    over: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    /// On `host`, at these addresses, which it may get later. Zero is answered with `id`, another
    /// byte with many of them.
    pub(super) fn start(host: &Host, id: u8, vips: &[IpAddr]) -> Self {
        for family in ["ipv4", "ipv6"] {
            host.sysctl(&format!("net.{family}.ip_nonlocal_bind"), "1").unwrap();
        }
        let over = Arc::new(Notify::new());
        let (end, vips) = (Arc::clone(&over), vips.to_vec());
        let (ready, started) = std::sync::mpsc::channel();
        let thread = host.inside(|| {
            thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let ports =
                        |vip: &IpAddr| [PORT, STICKY, NET, UNCOVERED].map(|port| (*vip, port));
                    for (vip, port) in vips.iter().flat_map(ports) {
                        let listener = TcpListener::bind(SocketAddr::new(vip, port)).await.unwrap();
                        tokio::spawn(accept(listener, id));
                    }
                    let ports = |vip: &IpAddr| [UDP, UDP_STICKY, IPID].map(|port| (*vip, port));
                    for (vip, port) in vips.iter().flat_map(ports) {
                        let socket = UdpSocket::bind(SocketAddr::new(vip, port)).await.unwrap();
                        tokio::spawn(echo(socket, id));
                    }
                    ready.send(()).unwrap();
                    end.notified().await;
                });
            })
        });
        started.recv().unwrap();
        Self { over, thread: Some(thread.unwrap()) }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.over.notify_one();
        if let Some(thread) = self.thread.take() {
            // Its panic was told.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, id: u8) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, id));
    }
}

async fn serve(mut stream: TcpStream, id: u8) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).await?;
        let answer = vec![id; if byte == [0] { 1 } else { BULK }];
        stream.write_all(&answer).await?;
    }
}

async fn echo(socket: UdpSocket, id: u8) {
    let mut asked = [0; 64];
    while let Ok((_, from)) = socket.recv_from(&mut asked).await {
        // One that cannot be sent is lost, as any may be.
        let _ = socket.send_to(&[id], from).await;
    }
}
