//! Reads Rust source far enough to tell which paths it mentions.

/// A path that code mentions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// Where it stands, from 1.
    pub(super) line: usize,
    /// Whether the path starts at the root of this crate, rather than with a crate or a local name.
    pub(super) ours: bool,
    /// Its segments, without `crate`, `super` and `self`.
    pub(super) path: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Name(String),
    /// `::`
    Path,
    Mark(char),
}

type Token = (usize, Word);

/// Every path in `text` that leaves its file, outside tests; `module` is where the file hangs.
pub(super) fn mentions(text: &str, module: &[String]) -> Vec<Mention> {
    let tokens = without_tests(&tokens(text));
    let mut found = Vec::new();
    // Modules opened in the file itself, each with the depth of its brace.
    let mut inner: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while let Some((_, word)) = tokens.get(at) {
        match word {
            Word::Mark('{') => depth += 1,
            Word::Mark('}') => {
                inner.pop_if(|(_, opened)| *opened == depth);
                depth = depth.saturating_sub(1);
            }
            Word::Name(name) if name == "mod" => {
                if let (Some(Word::Name(module)), Some(Word::Mark('{'))) =
                    (word_at(&tokens, at + 1), word_at(&tokens, at + 2))
                {
                    inner.push((module.clone(), depth + 1));
                }
            }
            Word::Name(name) if name == "use" => {
                let here = place(module, &inner);
                at = tree(&tokens, at + 1, &Vec::new(), &here, &mut found);
                continue;
            }
            Word::Name(_) if is_path_head(&tokens, at) => {
                let here = place(module, &inner);
                at = tree(&tokens, at, &Vec::new(), &here, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn place(module: &[String], inner: &[(String, usize)]) -> Vec<String> {
    let inner = inner.iter().map(|(name, _)| name.clone());
    module.iter().cloned().chain(inner).collect()
}

fn word_at(tokens: &[Token], at: usize) -> Option<&Word> {
    tokens.get(at).map(|(_, word)| word)
}

/// Whether a name in code is followed by `::` and is not itself in the middle of a path.
fn is_path_head(tokens: &[Token], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| word_at(tokens, before));
    let followed = word_at(tokens, at + 1) == Some(&Word::Path);
    followed && before != Some(&Word::Mark('.'))
}

/// Reads a path or a `use` tree from `at` on, and returns where it ends.
fn tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &[(usize, String)],
    here: &[String],
    found: &mut Vec<Mention>,
) -> usize {
    let mut path = prefix.to_vec();
    if word_at(tokens, at) == Some(&Word::Path) {
        at += 1;
    }
    loop {
        match tokens.get(at) {
            Some((line, Word::Name(name))) => {
                path.push((*line, name.clone()));
                at += 1;
            }
            Some((line, Word::Mark('*'))) => {
                path.push((*line, "*".to_owned()));
                at += 1;
            }
            Some((_, Word::Mark('{'))) => {
                at += 1;
                while let Some(word) = word_at(tokens, at) {
                    match word {
                        Word::Mark('}') => return at + 1,
                        Word::Mark(',') => at += 1,
                        // Anything else would not move on: it is no `use` tree.
                        Word::Mark(other) if !matches!(other, '{' | '*') => return at,
                        _ => at = tree(tokens, at, &path, here, found),
                    }
                }
                return at;
            }
            _ => break,
        }
        if word_at(tokens, at) == Some(&Word::Path) {
            at += 1;
        } else {
            break;
        }
    }
    // `as other` is a name for what was read, not a path.
    if word_at(tokens, at) == Some(&Word::Name("as".to_owned())) {
        at += 2;
    }
    found.extend(resolve(&path, here));
    at.max(1)
}

/// Turns `crate::`, `super::` and `self::` into a path from the root; the line is that of the last
/// segment, where a group names its member.
fn resolve(path: &[(usize, String)], here: &[String]) -> Option<Mention> {
    let line = path.last()?.0;
    let mut names = path.iter().map(|(_, name)| name.as_str()).peekable();
    let mut base: Option<Vec<String>> = None;
    while let Some(name) = names.peek().copied() {
        match name {
            "crate" => base = Some(Vec::new()),
            "super" => {
                let mut parent = base.take().unwrap_or_else(|| here.to_vec());
                parent.pop();
                base = Some(parent);
            }
            "self" => base = Some(base.take().unwrap_or_else(|| here.to_vec())),
            _ => break,
        }
        names.next();
    }
    let ours = base.is_some();
    let mut path = base.unwrap_or_default();
    // `use a::{self}` names `a`.
    path.extend(names.filter(|name| *name != "self").map(str::to_owned));
    Some(Mention { line, ours, path })
}

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let marker = [
        Word::Mark('#'),
        Word::Mark('['),
        Word::Name("cfg".to_owned()),
        Word::Mark('('),
        Word::Name("test".to_owned()),
        Word::Mark(')'),
        Word::Mark(']'),
    ];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = marker.iter().enumerate();
        if marked
            .into_iter()
            .all(|(offset, word)| word_at(tokens, at + offset) == Some(word))
        {
            at = item_end(tokens, at + marker.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The end of the item that starts at `at`: a semicolon outside brackets, or its closing brace.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    let is_use = word_at(tokens, at) == Some(&Word::Name("use".to_owned()));
    while let Some(word) = word_at(tokens, at) {
        at += 1;
        match word {
            Word::Mark('{' | '(' | '[') => depth += 1,
            Word::Mark('}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 && !is_use {
                    return at;
                }
            }
            Word::Mark(')' | ']') => depth = depth.saturating_sub(1),
            Word::Mark(';') if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

/// Names and marks with their lines; comments, strings, characters and numbers are left out.
fn tokens(text: &str) -> Vec<Token> {
    let text: Vec<char> = text.chars().collect();
    let char_at = |at: usize| text.get(at).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < text.len() {
        let begin = at;
        let c = char_at(at);
        if c == '/' && char_at(at + 1) == '/' {
            while at < text.len() && char_at(at) != '\n' {
                at += 1;
            }
        } else if c == '/' && char_at(at + 1) == '*' {
            at = comment_end(&text, at);
        } else if let Some(end) = string_end(&text, at) {
            at = end;
        } else if c == '\'' {
            at = quote_end(&text, at);
        } else if c.is_alphanumeric() || c == '_' {
            while char_at(at).is_alphanumeric() || char_at(at) == '_' {
                at += 1;
            }
            if !c.is_numeric() {
                found.push((line, Word::Name(text[begin..at].iter().collect())));
            }
        } else if c == ':' && char_at(at + 1) == ':' {
            found.push((line, Word::Path));
            at += 2;
        } else {
            if !c.is_whitespace() {
                found.push((line, Word::Mark(c)));
            }
            at += 1;
        }
        line += text[begin..at.min(text.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    found
}

/// The end of a block comment, which may hold others.
fn comment_end(text: &[char], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < text.len() {
        match text.get(at..at + 2) {
            Some(['/', '*']) => {
                depth += 1;
                at += 2;
            }
            Some(['*', '/']) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// The end of a string of any kind that starts at `at`, if one does.
fn string_end(text: &[char], at: usize) -> Option<usize> {
    let mut open = at;
    while matches!(text.get(open), Some('b' | 'c')) && open == at {
        open += 1;
    }
    let raw = text.get(open) == Some(&'r');
    if raw {
        open += 1;
    }
    let hashes = if raw {
        text[open..].iter().take_while(|c| **c == '#').count()
    } else {
        0
    };
    open += hashes;
    if text.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    while at < text.len() {
        match text[at] {
            '\\' if !raw => at += 2,
            '"' if text[at + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes =>
            {
                return Some(at + 1 + hashes);
            }
            _ => at += 1,
        }
    }
    Some(at)
}

/// The end of a character literal, or of the tick alone where it starts a lifetime.
fn quote_end(text: &[char], at: usize) -> usize {
    match (text.get(at + 1), text.get(at + 2)) {
        (Some('\\'), _) => {
            let close = text[at + 3..].iter().position(|c| *c == '\'');
            close.map_or(text.len(), |close| at + 3 + close + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}
