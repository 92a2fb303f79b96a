//! An event as it is told.

use std::format;
use std::prelude::rust_2024::*;
use std::string::String;
use std::vec;

use ha_proto::{Epoch, Role};

use crate::event::Level;

/// What is told of an event, but for how many were dropped: that is known when it is told.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) module: String,
    pub(super) node: String,
    pub(super) role: Role,
    pub(super) at: At,
    pub(super) event: &'static str,
    pub(super) text: String,
    pub(super) level: Level,
    pub(super) sequence: u64,
}

/// What was in force then.
#[derive(Debug)]
pub(super) enum At {
    /// Of a mirror: its epoch.
    Epoch(Epoch),
    /// Of a farm: its view.
    View(String),
}

impl Words {
    /// As one line of JSON of [`JSON_MAX`] bytes at most: what would be longer is cut.
    pub(super) fn json(&self, dropped: u64) -> String {
        let mut json = String::from("{");
        for (name, _, text) in self.texts() {
            let max = if name == "text" { TEXT_MAX } else { NAME_MAX };
            json.extend(["\"", name, "\":\""]);
            escape(&text, max, &mut json);
            json.push_str("\",");
        }
        let numbers = self.numbers(dropped).into_iter();
        let numbers = numbers.map(|(name, _, number)| format!("\"{name}\":{number}"));
        json.push_str(&numbers.collect::<Vec<_>>().join(","));
        json.push('}');
        json
    }

    /// As variables for a program.
    pub(super) fn environment(&self, dropped: u64) -> Vec<(&'static str, String)> {
        let texts = self.texts().into_iter();
        // The system takes no such byte, and none of our texts has one.
        let texts = texts.map(|(_, name, text)| (name, text.replace('\0', "")));
        let numbers = self.numbers(dropped).into_iter();
        texts.chain(numbers.map(|(_, name, number)| (name, format!("{number}")))).collect()
    }

    /// The texts, by the names of both kinds.
    fn texts(&self) -> Vec<(&'static str, &'static str, String)> {
        let mut texts = vec![
            ("module", "HA_MODULE", self.module.clone()),
            ("node", "HA_NODE", self.node.clone()),
            ("role", "HA_ROLE", format!("{}", self.role)),
            ("event", "HA_EVENT", self.event.into()),
            ("text", "HA_TEXT", self.text.clone()),
            ("level", "HA_LEVEL", self.level.name().into()),
        ];
        if let At::View(view) = &self.at {
            texts.push(("view", "HA_VIEW", view.clone()));
        }
        texts
    }

    /// The numbers, likewise.
    fn numbers(&self, dropped: u64) -> Vec<(&'static str, &'static str, u64)> {
        let mut numbers = Vec::new();
        if let At::Epoch(epoch) = self.at {
            numbers.push(("epoch", "HA_EPOCH", epoch.bits()));
        }
        numbers.push(("sequence", "HA_SEQUENCE", self.sequence));
        numbers.push(("dropped", "HA_DROPPED", dropped));
        numbers
    }
}

/// What stands between the quotes of a string (RFC 8259, 7); of more than `max` bytes as many
/// characters as fit, and a sign that some are missing.
fn escape(text: &str, max: usize, json: &mut String) {
    let begin = json.len();
    // Where the sign would still fit.
    let mut last = begin;
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\0'..='\x1f' => json.extend(["\\u", &format!("{:04x}", u32::from(c))]),
            _ => json.push(c),
        }
        let length = json.len() - begin;
        if length > max {
            json.truncate(last);
            json.push(CUT);
            return;
        }
        if length + CUT.len_utf8() <= max {
            last = json.len();
        }
    }
}

/// Bytes of the longest JSON: with the end of a line, what a pipe of Linux holds at least,
/// `PIPE_BUF` (pipe(7)).
pub(super) const JSON_MAX: usize = 4_095;

/// Bytes of the event in words; a view of 64 members names them all.
const TEXT_MAX: usize = 2_048;

/// Of any other text.
const NAME_MAX: usize = 256;

const CUT: char = '…';

/// Six names with theirs, quotes and signs, and three numbers of 20 digits.
const _: () = assert!(TEXT_MAX + 6 * (NAME_MAX + 16) + 3 * 40 <= JSON_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str, max: usize) -> String {
        let mut json = String::new();
        escape(text, max, &mut json);
        json
    }

    #[test]
    fn json_is_escaped() {
        assert_eq!(escaped("a\"b\\c\nd\u{1}é\u{7f}", 99), "a\\\"b\\\\c\\u000ad\\u0001é\u{7f}");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
        assert_eq!(escaped("abcdef", 6), "abcdef");
        assert_eq!(escaped("abcdefg", 6), "abc…");
        assert_eq!(escaped("abc\"ef", 6), "abc…", "half an escape would be none");
        assert_eq!(escaped("ééé", 5), "é…");
    }
}
