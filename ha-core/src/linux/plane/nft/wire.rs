//! A socket of netlink for nftables: transactions, and questions about what is there.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::prelude::rust_2024::*;
use std::string::String;
use std::vec;

use nix::sys::socket::{setsockopt, sockopt::SndBufForce};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::batch::{Batch, Element};
use super::words::{
    CHANGED, COUNTER, DONE, DUMP, GET_ELEMENT, GET_GENERATION, GET_OBJECT, GET_TABLE, NETDEV,
    NEW_ELEMENT, NEW_GENERATION, NEW_OBJECT, NEW_TABLE, NFTABLES, attributes, find, long, message,
    messages, name, names, number, text,
};
use crate::linux::netlink::open;

/// The socket. The kernel works inside of the call that sends, so no answer is ever waited for.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    /// The answers to so many transactions are lost.
    #[cfg(test)]
    pub(super) deaf: u32,
}

impl Wire {
    /// In this thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let socket = open(Some(NETFILTER), 0)?;
        // A transaction is one datagram.
        setsockopt(&socket, SndBufForce, &SEND_MAX)?;
        Ok(Self {
            socket,
            #[cfg(test)]
            deaf: 0,
        })
    }

    /// Has it done, if the kernel's generation is this one, or `ANY`: else the error
    /// [`is_overtaken`]. Of another error it is not known whether it was done: an answer may be lost.
    pub(super) fn commit(&mut self, batch: &Batch, generation: u32) -> io::Result<()> {
        self.ask(&batch.sealed(generation))?;
        #[cfg(test)]
        if self.deaf > 0 {
            self.deaf -= 1;
            return Err(Errno::NOBUFS.into());
        }
        let mut answer = vec![0; ANSWER_MAX];
        let mut first = Ok(());
        while let Some(len) = self.read(&mut answer)? {
            let failed = messages(&answer[..len]).find_map(|message| message.error());
            first = first.and(failed.map_or(Ok(()), Err));
        }
        first
    }

    /// How many transactions this network namespace has had, of anybody; it wraps, and is never
    /// `ANY`.
    pub(super) fn generation(&mut self) -> io::Result<u32> {
        let mut question = Vec::new();
        message(&mut question, NFTABLES << 8 | GET_GENERATION, 0, 0, 0, &[]);
        self.ask(&question)?;
        let mut answer = vec![0; ANSWER_MAX];
        while let Some(len) = self.read(&mut answer)? {
            for message in messages(&answer[..len]) {
                if let Some(error) = message.error() {
                    return Err(error);
                }
                let told = message.body(NEW_GENERATION).and_then(|body| find(body, 1));
                if let Some(generation) = told.and_then(|it| it.first_chunk()) {
                    return Ok(u32::from_be_bytes(*generation));
                }
            }
        }
        Err(io::Error::other("the kernel does not tell its generation"))
    }

    /// The names of all tables of this family.
    pub(super) fn tables(&mut self) -> io::Result<Vec<String>> {
        self.list(GET_TABLE, NEW_TABLE, &[], |table| name(table, 1))
    }

    /// What a set or a map holds, in order.
    pub(super) fn elements(&mut self, table: &str, set: &str) -> io::Result<Vec<Element>> {
        let mut all = Vec::new();
        self.list(GET_ELEMENT, NEW_ELEMENT, &names(table, set), |list| {
            all.extend(attributes(find(list, 3)?).filter_map(|it| Element::read(it.1)));
            Some(())
        })?;
        all.sort_unstable();
        // Of a list that was asked for again.
        all.dedup();
        Ok(all)
    }

    /// How many packets each counter of a table has counted. Of a table that is gone there is none,
    /// which is an error.
    pub(super) fn counters(&mut self, table: &str) -> io::Result<BTreeMap<String, u64>> {
        let mut body = text(1, table);
        number(&mut body, 3, COUNTER);
        let counted = self.list(GET_OBJECT, NEW_OBJECT, &body, |counter| {
            Some((name(counter, 2)?, long(find(counter, 4)?, 2)?))
        })?;
        let gone = || io::Error::other("the table is not there");
        Some(counted.into_iter().collect())
            .filter(|it: &BTreeMap<_, _>| !it.is_empty())
            .ok_or_else(gone)
    }

    /// All of one kind, as `read` reads each; asked again when it changed meanwhile.
    pub(super) fn list<T>(
        &mut self,
        question: u16,
        answer: u16,
        body: &[u8],
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..LISTS_MAX {
            let mut asked = Vec::new();
            message(&mut asked, NFTABLES << 8 | question, DUMP, NETDEV, 0, body);
            self.ask(&asked)?;
            if let Some(all) = self.read_list(answer, &mut read)? {
                return Ok(all);
            }
        }
        Err(io::Error::other("the kernel's list changes faster than it can be read"))
    }

    /// Reads a list to its end; `None` where it changed meanwhile.
    fn read_list<T>(
        &mut self,
        kind: u16,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<Option<Vec<T>>> {
        let (mut all, mut whole) = (Vec::new(), true);
        let mut answer = vec![0; ANSWER_MAX];
        while let Some(len) = self.read(&mut answer)? {
            for message in messages(&answer[..len]) {
                whole &= message.flags & CHANGED == 0;
                if message.kind == DONE {
                    return Ok(whole.then_some(all));
                }
                if let Some(error) = message.error() {
                    return Err(error);
                }
                all.extend(message.body(kind).and_then(&mut read));
            }
        }
        Err(io::Error::other("the kernel's list has no end"))
    }

    fn ask(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What was not read of the answer before is none to this.
        let mut rest = vec![0; ANSWER_MAX];
        for _ in 0..ANSWERS_MAX {
            if matches!(self.read(&mut rest), Ok(None)) {
                break;
            }
        }
        send(&self.socket, bytes, SendFlags::empty())?;
        Ok(())
    }

    /// One datagram of answers; `None` where there is no more.
    fn read(&mut self, answer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match recv(&self.socket, &mut *answer, RecvFlags::DONTWAIT) {
                Ok((_, len)) => return Ok(Some(len.min(answer.len()))),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether a transaction was refused since somebody else had one in between.
pub(super) fn is_overtaken(error: &io::Error) -> bool {
    // `ERESTART`, which no other call shows to a process.
    error.raw_os_error() == Some(85)
}

/// How often a list that changes while it is read is asked for.
const LISTS_MAX: usize = 8;
/// The kernel fills 32 KiB at most for a list.
const ANSWER_MAX: usize = 32 * 1024;
/// Of the longest list that was left unread.
const ANSWERS_MAX: usize = 1_000;
/// Sixteen services of 4,096 buckets, each with an owner, are less than 4 MiB.
const SEND_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::super::words::{NESTED, attribute};
    use super::*;

    #[test]
    fn a_counter_is_read_as_the_kernel_writes_it() {
        let (mut data, mut body) = (Vec::new(), names("t", "accepted_1"));
        attribute(&mut data, 1, &9_u64.to_be_bytes());
        attribute(&mut data, 2, &7_u64.to_be_bytes());
        number(&mut body, 3, COUNTER);
        attribute(&mut body, 4 | NESTED, &data);
        let mut bytes = Vec::new();
        message(&mut bytes, NFTABLES << 8 | NEW_OBJECT, 0, NETDEV, 0, &body);
        message(&mut bytes, DONE, 0, 0, 0, &[]);
        let counter = |body: &[u8]| Some((name(body, 2)?, long(find(body, 4)?, 2)?));
        let read = messages(&bytes).map(|message| message.body(NEW_OBJECT).and_then(counter));
        assert_eq!(read.collect::<Vec<_>>(), [Some(("accepted_1".into(), 7)), None]);
        for len in 0..bytes.len() {
            let all = messages(&bytes[..len]).filter_map(|message| message.body(NEW_OBJECT));
            all.for_each(|body| drop(counter(body)));
        }
    }
}
