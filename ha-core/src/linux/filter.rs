//! Programs of the classic packet filter (`linux/filter.h`), which the kernel runs on what a socket
//! would hear: what nobody wants wakes nobody.

use std::prelude::rust_2024::*;

use socket2::SockFilter;

/// One step of a program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// What is in these bytes, as the network orders them, is looked at next.
    Load(Size, u32),
    /// Goes on at the label if that is this, and with the next step if not.
    If(u32, &'static str),
    /// Goes on at the label.
    Go(&'static str),
    /// Where others go on.
    Label(&'static str),
    /// Looks at what the netlink attribute of this type, in the list that begins at `list`, holds
    /// in its first byte. It goes on at the label if there is none.
    Attribute { kind: u32, list: u32, none: &'static str },
    /// The end: at most so many bytes are heard, or none of it.
    Hear(usize),
}

/// How many bytes are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    One,
    Two,
    Four,
}

/// Where the kernel keeps what it knows of a message besides its bytes (`SKF_AD_OFF`).
pub(super) const ANCILLARY: u32 = 0xffff_f000;

/// The program of these steps.
pub(super) fn program(steps: &[Step]) -> Vec<SockFilter> {
    let mut at = 0_usize;
    let mut labels = Vec::new();
    for step in steps {
        match step {
            Step::Label(name) => labels.push((*name, at)),
            Step::Attribute { .. } => at += 6,
            Step::Load(..) | Step::If(..) | Step::Go(_) | Step::Hear(_) => at += 1,
        }
    }
    let mut code = Vec::new();
    for step in steps {
        let skip = |label: &str, here: usize| {
            let (_, to) = labels.iter().find(|(name, _)| *name == label).expect("a label is there");
            to.checked_sub(here + 1).expect("a filter never goes back")
        };
        let near = |label, here| u8::try_from(skip(label, here)).expect("a filter is short");
        let here = code.len();
        match *step {
            Step::Load(size, from) => code.push(SockFilter::new(size.load(), 0, 0, from)),
            Step::If(is, label) => code.push(SockFilter::new(EQUAL, near(label, here), 0, is)),
            Step::Go(label) => code.push(SockFilter::new(JUMP, 0, 0, skip(label, here) as u32)),
            Step::Label(_) => {}
            Step::Attribute { kind, list, none } => code.extend([
                SockFilter::new(INDEX_CONSTANT, 0, 0, kind),
                SockFilter::new(CONSTANT, 0, 0, list),
                // `SKF_AD_NLATTR`: its place, or zero.
                SockFilter::new(Size::Four.load(), 0, 0, ANCILLARY + 12),
                SockFilter::new(EQUAL, near(none, here + 3), 0, 0),
                SockFilter::new(TO_INDEX, 0, 0, 0),
                // Behind its header.
                SockFilter::new(BYTE_INDEXED, 0, 0, 4),
            ]),
            Step::Hear(bytes) => code.push(SockFilter::new(RETURN, 0, 0, bytes as u32)),
        }
    }
    code
}

impl Size {
    const fn load(self) -> u16 {
        match self {
            Self::One => 0x30,
            Self::Two => 0x28,
            Self::Four => 0x20,
        }
    }
}

const CONSTANT: u16 = 0x00;
const INDEX_CONSTANT: u16 = 0x01;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
const TO_INDEX: u16 = 0x07;
const EQUAL: u16 = 0x15;
const BYTE_INDEXED: u16 = 0x50;
