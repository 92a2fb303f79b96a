//! What a host believes of its neighbours' addresses.

use std::fmt;
use std::str::FromStr;

/// A link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    /// `92:48:e9:84:6a:c6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let pair = |part: &&str| part.len() == 2 && !part.starts_with('+');
            let part = parts.next().filter(pair).ok_or(NotAMac)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| NotAMac)?;
        }
        if parts.next().is_some() { Err(NotAMac) } else { Ok(Self(bytes)) }
    }
}

/// The text is no link-layer address of six pairs of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMac;

impl fmt::Display for NotAMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no link-layer address (12:34:56:78:9a:bc)")
    }
}

impl std::error::Error for NotAMac {}

/// A host's entry for a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Where it sends what is for the neighbour; `None` while it asks, and after nobody answered.
    pub mac: Option<Mac>,
    /// As `ip neigh` names it: `REACHABLE`, `STALE`, `FAILED`, `PERMANENT`, …
    pub state: String,
}

impl Neighbour {
    /// What `ip neigh show to ADDRESS` prints; `None` when there is no entry.
    pub(crate) fn parse(told: &str) -> Option<Self> {
        let line = told.lines().next()?;
        let mac = word_after(line, "lladdr").and_then(|mac| mac.parse().ok());
        let state = line.split_whitespace().last()?.to_owned();
        Some(Self { mac, state })
    }
}

/// The word that follows `key` in what `ip` and `bridge` print.
pub(crate) fn word_after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == key)?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn entries_of_each_kind() {
        let mac = Some(Mac([0x92, 0x48, 0xe9, 0x84, 0x6a, 0xc6]));
        let entry = |mac, state: &str| Some(Neighbour { mac, state: state.to_owned() });
        let cases = [
            ("10.77.1.2 dev eth0 lladdr 92:48:e9:84:6a:c6 REACHABLE \n", entry(mac, "REACHABLE")),
            ("fd00:77:1::2 lladdr 92:48:e9:84:6a:c6 router STALE \n", entry(mac, "STALE")),
            ("10.77.1.2 dev eth0  FAILED \n", entry(None, "FAILED")),
            ("", None),
        ];
        for (told, expected) in cases {
            assert_eq!(Neighbour::parse(told), expected, "{told}");
        }
    }

    #[test]
    fn no_link_layer_addresses() {
        for text in [
            "",
            "92:48:e9:84:6a",
            "92:48:e9:84:6a:c6:00",
            "92:48:e9:84:6a:zz",
            "1:2:3:4:5:6",
            "+1:48:e9:84:6a:c6",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(NotAMac), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_link_layer_address_is_read_as_it_is_shown(bytes: [u8; 6]) {
            prop_assert_eq!(Mac(bytes).to_string().parse(), Ok(Mac(bytes)));
        }

        #[test]
        fn any_text_is_an_entry_or_none(text in ".*") {
            let _ = Neighbour::parse(&text);
            let _ = text.parse::<Mac>();
        }
    }
}
