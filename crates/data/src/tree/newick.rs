//! The pieces that a Newick text is made of.

use crate::{Error, Result};
use std::path::Path;

/// Characters that end or structure an unquoted name.
pub(super) const SPECIAL: [char; 9] = ['(', ')', '[', ']', '\'', ':', ';', ',', '\u{feff}'];

/// A piece of Newick.
pub(super) enum Token {
    Open,
    Close,
    Comma,
    /// `;`
    End,
    Name(String),
    /// The number after a colon.
    Length(f64),
    /// The end of the text.
    Finish,
}

impl Token {
    /// The piece as messages show it.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Open => "(".to_string(),
            Token::Close => ")".to_string(),
            Token::Comma => ",".to_string(),
            Token::End => ";".to_string(),
            Token::Name(name) => format!("name {name:?}"),
            Token::Length(length) => format!("length {length}"),
            Token::Finish => "the end of the file".to_string(),
        }
    }
}

/// Takes a text apart, from its start to its end.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    path: &'a Path,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of a text; `path` stands in messages only.
    pub(super) fn new(text: &'a str, path: &'a Path) -> Self {
        Scanner { text, at: 0, path }
    }

    /// Bytes that are behind the scanner.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next piece; at the end of the text always [`Token::Finish`].
    pub(super) fn next_token(&mut self) -> Result<Token> {
        self.skip_blanks()?;
        let Some(first) = self.text[self.at..].chars().next() else {
            return Ok(Token::Finish);
        };
        if first != '\'' {
            if first != ':' && !SPECIAL.contains(&first) {
                return Ok(Token::Name(self.unquoted().to_string()));
            }
            self.at += first.len_utf8();
        }
        match first {
            '(' => Ok(Token::Open),
            ')' => Ok(Token::Close),
            ',' => Ok(Token::Comma),
            ';' => Ok(Token::End),
            '\'' => self.quoted().map(Token::Name),
            ':' => {
                self.skip_blanks()?;
                let start = self.at;
                let text = self.unquoted();
                match text.parse::<f64>() {
                    Ok(length) if length.is_finite() => Ok(Token::Length(length)),
                    _ => {
                        let found = format!("length {text:?}");
                        Err(self.error(start, found, "a finite number after a colon"))
                    }
                }
            }
            _ => Err(self.error(
                self.at - first.len_utf8(),
                format!("{first:?}"),
                "a Newick tree",
            )),
        }
    }

    /// A name or a number: up to a special character, without outer whitespace.
    fn unquoted(&mut self) -> &str {
        let rest = &self.text[self.at..];
        let word = &rest[..rest.find(SPECIAL).unwrap_or(rest.len())];
        self.at += word.len();
        word.trim()
    }

    /// A name in quotes, of which a doubled quote is one.
    fn quoted(&mut self) -> Result<String> {
        let start = self.at;
        self.at += 1;
        let mut name = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = rest.find('\'') else {
                return Err(self.error(start, "a quote that does not close", "a name in quotes"));
            };
            name.push_str(&rest[..end]);
            self.at += end + 1;
            if !self.text[self.at..].starts_with('\'') {
                return Ok(name);
            }
            name.push('\'');
            self.at += 1;
        }
    }

    /// Passes whitespace, a byte order mark and comments, which may be nested.
    fn skip_blanks(&mut self) -> Result<()> {
        let start = self.at;
        let mut depth = 0usize;
        for c in self.text[start..].chars() {
            match c {
                '[' => depth += 1,
                ']' if depth > 0 => depth -= 1,
                _ if depth > 0 || c.is_whitespace() || c == '\u{feff}' => {}
                _ => break,
            }
            self.at += c.len_utf8();
        }
        if depth > 0 {
            return Err(self.error(start, "a comment that does not close", "a ] for every ["));
        }
        Ok(())
    }

    /// An error about the text from byte `at` on.
    pub(super) fn error(&self, at: usize, found: impl Into<String>, expected: &str) -> Error {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Error::format(
            self.path,
            format!("line {line}, character {column}"),
            found,
            expected,
        )
    }
}
