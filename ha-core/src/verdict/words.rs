//! How durations, counts and lists are said.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// A duration as an operator reads it: two digits of what matters.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration < Duration::from_secs(10) {
        let tenths = (duration.as_millis() + 50) / 100;
        return if tenths == 0 {
            format!("{} ms", duration.as_millis())
        } else {
            format!("{}.{} s", tenths / 10, tenths % 10)
        };
    }
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The names of the bits that are set; a bit without a name is its number.
pub(super) fn listed(bits: u64, names: &[String]) -> String {
    let set: Vec<String> = (0..64_usize)
        .filter(|&bit| bits >> bit & 1 == 1)
        .map(|bit| names.get(bit).cloned().unwrap_or_else(|| format!("resource {bit}")))
        .collect();
    set.join(", ")
}

/// The network of this place, by name or number.
pub(crate) fn link(at: usize, names: &[String]) -> String {
    names.get(at).cloned().unwrap_or_else(|| format!("network {at}"))
}

/// `done` of `goal` in hundredths, rounded down: 100 only when nothing is missing.
pub(super) fn percent(done: u64, goal: u64) -> String {
    match done.saturating_mul(100).checked_div(goal) {
        Some(percent) => percent.min(100).to_string(),
        None => "100".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_digits_that_matter() {
        let rows = [
            (3, "3 ms"),
            (49, "49 ms"),
            (50, "0.1 s"),
            (1_240, "1.2 s"),
            (9_999, "10.0 s"),
            (14_000, "14 s"),
            (119_000, "119 s"),
            (840_000, "14 min"),
            (7_200_000, "2 h"),
            (200_000_000, "2 days"),
        ];
        for (millis, said) in rows {
            assert_eq!(span(Duration::from_millis(millis)), said);
        }
    }

    #[test]
    fn bits_are_called_by_their_names() {
        let names = [String::from("tcp"), String::from("disk")];
        assert_eq!(listed(0b11, &names), "tcp, disk");
        assert_eq!(listed(0b100, &names), "resource 2");
        assert_eq!(listed(1 << 63, &names), "resource 63");
        assert_eq!((link(0, &names), link(7, &names)), ("tcp".into(), "network 7".into()));
    }

    #[test]
    fn a_copy_is_whole_only_at_its_end() {
        assert_eq!(percent(999, 1_000), "99");
        assert_eq!((percent(5, 5), percent(0, 0)), ("100".into(), "100".into()));
    }
}
