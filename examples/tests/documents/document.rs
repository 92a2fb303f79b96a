//! What a document tells an administrator to do.

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// A file to be written.
    File(String),
    /// Commands, a line each.
    Commands(String),
    /// What is only shown.
    Shown(String),
}

/// The blocks of a document, in order.
pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (at, part) in document.split("```").enumerate() {
        // Every other one stands between fences.
        if at % 2 == 0 {
            continue;
        }
        let (language, text) = part.split_once('\n').expect("a fence has a line of its own");
        let text = text.to_owned();
        let words = ["cargo ", "install ", "ha ", "apt-get ", "systemctl ", "for "];
        blocks.push(match language {
            "toml" => Block::File(text),
            _ if words.iter().any(|word| text.starts_with(word)) => Block::Commands(text),
            _ => Block::Shown(text),
        });
    }
    blocks
}

#[test]
fn files_commands_and_what_is_shown_are_told_apart() {
    let document = "a\n```toml\nb = 1\n```\nc\n```\nha status\n```\n```\npicture\n```\n";
    let expected = [
        Block::File("b = 1\n".into()),
        Block::Commands("ha status\n".into()),
        Block::Shown("picture\n".into()),
    ];
    assert_eq!(blocks(document), expected);
}
