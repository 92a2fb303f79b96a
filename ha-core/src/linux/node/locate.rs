//! Where a field stands in a file.

use std::prelude::rust_2024::*;

use toml::de::{DeTable, DeValue};

/// The line, from 1, of the field that a path names: keys of tables, and places in lists as
/// numbers. Where the field is not written, that of the table around it; `None` for what is no TOML.
///
/// ```
/// use ha_core::linux::node::locate::line_of;
///
/// let text = "node = 0\n[[module]]\nname = \"web\"\nid = 7\n";
/// assert_eq!(line_of(text, &["node"]), Some(1));
/// assert_eq!(line_of(text, &["module", "0", "id"]), Some(4));
/// assert_eq!(line_of(text, &["module", "0", "vips"]), Some(2));
/// assert_eq!(line_of("a b", &["a"]), None);
/// ```
pub fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut at = 0;
    let mut tables = Some(root.get_ref());
    let mut list = None;
    for step in path {
        let found = match (tables, list) {
            (Some(table), _) => table.iter().find(|(key, _)| key.get_ref() == step).map(
                |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                    (key.span().start, value)
                },
            ),
            (None, Some(list)) => {
                let list: &toml::de::DeArray<'_> = list;
                step.parse()
                    .ok()
                    .and_then(|place: usize| list.get(place))
                    .map(|value| (value.span().start, value))
            }
            (None, None) => None,
        };
        let Some((start, value)) = found else { break };
        at = start;
        (tables, list) = match value.get_ref() {
            DeValue::Table(table) => (Some(table), None),
            DeValue::Array(array) => (None, Some(array)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => (None, None),
        };
    }
    Some(text[..at].matches('\n').count() + 1)
}
