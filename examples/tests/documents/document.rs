//! What a document tells an administrator to do.

use std::collections::BTreeSet;

/// What stands below a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chapter {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

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

/// The chapters of a document that have blocks, in order.
pub(crate) fn chapters(document: &str) -> Vec<Chapter> {
    let mut chapters = vec![Chapter { title: "before".into(), blocks: Vec::new() }];
    for (fenced, text) in parts(document) {
        if fenced {
            let (language, text) = text.split_once('\n').expect("a fence has a line of its own");
            let last = chapters.last_mut().expect("there is a first");
            last.blocks.push(block(language, text));
            continue;
        }
        let titles = text.lines().filter_map(|line| line.strip_prefix("## "));
        chapters.extend(titles.map(|it| Chapter { title: it.into(), blocks: Vec::new() }));
    }
    chapters.retain(|chapter| !chapter.blocks.is_empty());
    chapters
}

/// Every command of a document, in blocks and, of more than one word, in running text.
///
/// # Panics
/// Words stand as a command may, and are none that is known.
pub(crate) fn commands(document: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (fenced, text) in parts(document) {
        if fenced {
            let (language, text) = text.split_once('\n').expect("a fence has a line of its own");
            if let Block::Commands(lines) = block(language, text) {
                all.extend(lines.lines().map(String::from));
            }
            continue;
        }
        // Every other one stands between backticks, and may be broken at a line's end.
        let words = text.split('`').skip(1).step_by(2);
        let whole = words.map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
        all.extend(whole.filter(|it| is_said_to_be_command(it)));
    }
    all
}

/// The text of a document, and whether it stands between fences.
fn parts(document: &str) -> impl Iterator<Item = (bool, &str)> {
    document.split("```").enumerate().map(|(at, part)| (at % 2 == 1, part))
}

fn block(language: &str, text: &str) -> Block {
    match language {
        "toml" => Block::File(text.into()),
        "text" => Block::Shown(text.into()),
        _ if is_command(text) => Block::Commands(text.into()),
        _ => panic!("{UNKNOWN}: ```{language}\n{text}"),
    }
}

/// Likewise of words in running text, which may be a setting as well.
fn is_said_to_be_command(text: &str) -> bool {
    let several = text.contains(' ');
    let other = !several || text.contains(" = ") || WORDS.contains(&text);
    assert!(other || is_command(text), "{UNKNOWN}: `{text}`");
    !other
}

fn is_command(text: &str) -> bool {
    let (program, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    !rest.is_empty() && (PROGRAMS.contains(&program) || program.starts_with("/usr/"))
}

/// So that no command is passed over for its program, which no other has.
const UNKNOWN: &str = "a command by a program that is not listed, or words that are none";

/// Of files and messages that are quoted: no commands.
const WORDS: [&str; 2] = ["back DOWN to web2", "listen 80;"];

/// What commands begin with.
const PROGRAMS: [&str; 14] = [
    "adduser",
    "apt-get",
    "bridge",
    "cargo",
    "chown",
    "curl",
    "for",
    "ha",
    "install",
    "ip",
    "journalctl",
    "mkdir",
    "nft",
    "systemctl",
];

#[test]
fn files_commands_and_what_is_shown_are_told_apart() {
    let document = "a `ha one\ntwo` or `x = y`\n```toml\nb = 1\n```\n## c\n`ha`\n```\nha status\n\
        cat x\n```\n```text\npicture\n```\n";
    let file = Block::File("b = 1\n".into());
    let ordered = Block::Commands("ha status\ncat x\n".into());
    let expected = [
        Chapter { title: "before".into(), blocks: vec![file] },
        Chapter { title: "c".into(), blocks: vec![ordered, Block::Shown("picture\n".into())] },
    ];
    assert_eq!(chapters(document), expected);
    let said = ["cat x", "ha one two", "ha status"].map(String::from);
    assert_eq!(commands(document), said.into());
}

/// Here as well, without root: the tests that follow them come to their ends late.
#[test]
fn nothing_in_the_documents_is_passed_over() {
    let documents =
        [include_str!("../../../docs/mirror.md"), include_str!("../../../docs/farm.md")];
    for document in documents {
        assert!(!commands(document).is_empty() && !chapters(document).is_empty());
    }
}

#[test]
#[should_panic(expected = "not listed, or words that are none: `chmod 400 key`")]
fn no_command_in_running_text_is_passed_over() {
    commands("then `chmod 400\nkey`");
}

#[test]
#[should_panic(expected = "not listed, or words that are none: ```\nscp key node2:")]
fn no_block_of_commands_is_passed_over() {
    chapters("```\nscp key node2:\n```\n");
}
