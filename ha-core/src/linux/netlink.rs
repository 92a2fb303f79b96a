//! One question to the kernel, and its answer.

use std::io;
use std::os::fd::OwnedFd;
use std::prelude::rust_2024::*;
use std::vec;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send,
    socket_with,
};

/// A socket of netlink (RFC 3549) for questions. The kernel works on a question inside of the call
/// that sends it, so none is ever waited for, and one is asked at a time.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// A socket for one family of questions, `None` for routes, links and addresses; in this
    /// thread's network namespace.
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        Ok(Self { socket: open(protocol, 0)?, sequence: 0, buffer: vec![0; BYTES_MAX] })
    }

    /// Orders something; what the kernel says of it.
    pub(super) fn order<Q>(&mut self, flags: u16, question: Q) -> io::Result<()>
    where
        Q: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<Q>>,
    {
        self.ask::<Q, Q>(flags, question).map(drop)
    }

    /// All of a list; asked again when it changed meanwhile.
    pub(super) fn list<Q>(&mut self, question: &Q) -> io::Result<Vec<Q>>
    where
        Q: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<Q>> + Clone,
    {
        for _ in 0..LISTS_MAX {
            match self.ask(NLM_F_DUMP, question.clone()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
        Err(io::Error::other("the kernel's list changes faster than it can be read"))
    }

    /// Asks, and reads all that is answered, to the word that ends it.
    pub(super) fn ask<Q, A>(&mut self, flags: u16, question: Q) -> io::Result<Vec<A>>
    where
        Q: NetlinkSerializable + Into<NetlinkPayload<Q>>,
        A: NetlinkDeserializable,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, question.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(&self.socket, &bytes, SendFlags::empty())?;
        let mut answers = Vec::new();
        while self.read(&mut answers)?.is_none() {}
        Ok(answers)
    }

    /// Reads one datagram of the answer; `None` while more are to come.
    fn read<A: NetlinkDeserializable>(&mut self, into: &mut Vec<A>) -> io::Result<Option<()>> {
        let (_, len) = recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC)?;
        if len > self.buffer.len() {
            return Err(io::Error::other("an answer of netlink is longer than any can be"));
        }
        for message in messages(&self.buffer[..len]) {
            let message = message?;
            if message.header.sequence_number != self.sequence {
                // Of a question that ended in an error half-way.
                continue;
            }
            if message.header.flags & NLM_F_DUMP_INTR != 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match message.payload {
                NetlinkPayload::InnerMessage(answer) => into.push(answer),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(io::Error::from_raw_os_error(-done.code));
                }
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(Some(())),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// A socket of netlink that hears these groups, and never waits.
pub(super) fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// The messages of one datagram.
pub(super) fn messages<A: NetlinkDeserializable>(
    mut bytes: &[u8],
) -> impl Iterator<Item = io::Result<NetlinkMessage<A>>> {
    core::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let message = NetlinkMessage::<A>::deserialize(bytes).map_err(io::Error::other);
        // Each begins at a multiple of four bytes; one that makes no sense ends the datagram.
        let len = bytes.first_chunk().map_or(0, |len| u32::from_ne_bytes(*len)) as usize;
        let next = len.next_multiple_of(4);
        bytes = if len < HEADER { &[] } else { bytes.get(next..).unwrap_or(&[]) };
        Some(message)
    })
}

/// Whether the error says that more was said than fitted into the socket.
pub(super) fn is_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
}

/// The longest datagram that is read: the kernel fills 32 KiB at most for a list, and what it says
/// unasked is shorter.
pub(super) const BYTES_MAX: usize = 64 * 1024;

/// How often a list that changes while it is read is asked for: a busy machine needs two, and one
/// that changes for ever must not keep us.
const LISTS_MAX: usize = 8;

/// The length of a message's header.
const HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    use netlink_packet_route::RouteNetlinkMessage;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_messages_or_errors_and_come_to_an_end(
            len in 0..64_u32,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let datagram = [&len.to_ne_bytes()[..], &bytes].concat();
            let read = messages::<RouteNetlinkMessage>(&datagram).count();
            prop_assert!(read <= datagram.len() / HEADER + 1);
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_told_in_its_words() {
        use netlink_packet_route::address::AddressMessage;
        let mut netlink = Netlink::open(None).unwrap();
        let nothing = RouteNetlinkMessage::DelAddress(AddressMessage::default());
        let error = netlink.order(netlink_packet_core::NLM_F_ACK, nothing).unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
        let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        assert!(!netlink.list(&all).unwrap().is_empty(), "loopback");
    }
}
