//! Phylogenetic trees in Newick format.
//!
//! Read without recursion, so that a tree may be as deep as memory allows. Underscores in names
//! stay as they are, since the ids of tables have them.

mod newick;

use crate::delimited::{open, read_error, write_text};
use crate::format::Overwrite;
use crate::{Error, Result};
use newick::{SPECIAL, Scanner, Token};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// The parent of the root.
const NONE: usize = usize::MAX;

/// A rooted tree as flat arrays, in preorder: node 0 is the root, a parent comes before its
/// children, and children keep their order in the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree {
    parents: Vec<usize>,
    /// `None` where the file gives none.
    lengths: Vec<Option<f64>>,
    /// Empty where the file gives none.
    names: Vec<String>,
    n_children: Vec<usize>,
}

impl Tree {
    /// Reads a Newick file, compressed or not.
    ///
    /// # Errors
    /// A file that cannot be read, and those of [`Tree::parse`].
    pub fn read(path: &Path) -> Result<Tree> {
        let mut bytes = Vec::new();
        open(path)?
            .read_to_end(&mut bytes)
            .map_err(|source| read_error(path, 1, source))?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::format(
                path,
                "content",
                "bytes that are not UTF-8 text",
                "a Newick tree",
            )
        })?;
        Tree::parse(&text, path)
    }

    /// Parses one tree; `path` stands in messages only.
    ///
    /// Quoted names, comments in brackets, names of inner nodes and branch lengths are understood.
    ///
    /// # Errors
    /// Parentheses, quotes or comments that do not close; a length that is not a finite number; two
    /// tips of one name or a tip without a name; no `;` at the end, or more after it.
    pub fn parse(text: &str, path: &Path) -> Result<Tree> {
        let mut scanner = Scanner::new(text, path);
        let mut tree = Tree::default();
        tree.add(NONE);
        let mut node = 0;
        // Whether `node` has had its name, its length or its closing parenthesis.
        let (mut has_name, mut has_length, mut is_closed) = (false, false, false);
        loop {
            let start = scanner.position();
            match scanner.next_token()? {
                Token::Open if !has_name && !has_length && !is_closed => {
                    node = tree.add(node);
                }
                Token::Comma if tree.parents[node] != NONE => {
                    node = tree.add(tree.parents[node]);
                    (has_name, has_length, is_closed) = (false, false, false);
                }
                Token::Close if tree.parents[node] != NONE => {
                    node = tree.parents[node];
                    (has_name, has_length, is_closed) = (false, false, true);
                }
                Token::Name(name) if !has_name && !has_length => {
                    tree.names[node] = name;
                    has_name = true;
                }
                Token::Length(length) if !has_length => {
                    tree.lengths[node] = Some(length);
                    has_length = true;
                }
                Token::End if tree.parents[node] == NONE => break,
                token => {
                    let open = tree.parents[node] != NONE;
                    let expected = match token {
                        Token::End if open => "a ) for every (",
                        Token::Finish => "a tree that ends in ;",
                        _ => "a Newick tree, as in ((a:1,b:2)c:0.5,d:3);",
                    };
                    return Err(scanner.error(start, token.describe(), expected));
                }
            }
        }
        let end = scanner.position();
        match scanner.next_token()? {
            Token::Finish => {}
            _ => return Err(scanner.error(end, "more after the ;", "one tree in the file")),
        }
        tree.check_tips(path)?;
        Ok(tree)
    }

    /// Number of nodes, inner ones and tips.
    pub fn n_nodes(&self) -> usize {
        self.parents.len()
    }

    /// The parent of a node, `None` for the root (node 0).
    pub fn parent(&self, node: usize) -> Option<usize> {
        (self.parents[node] != NONE).then(|| self.parents[node])
    }

    /// Length of the branch above a node, `None` if the file gives none.
    pub fn length(&self, node: usize) -> Option<f64> {
        self.lengths[node]
    }

    /// The name of a node, `None` if the file gives none.
    pub fn name(&self, node: usize) -> Option<&str> {
        (!self.names[node].is_empty()).then(|| self.names[node].as_str())
    }

    /// Says whether a node has no children.
    pub fn is_tip(&self, node: usize) -> bool {
        self.n_children[node] == 0
    }

    /// Nodes without children, in the order of the file.
    pub fn tips(&self) -> Vec<usize> {
        (0..self.n_nodes())
            .filter(|node| self.is_tip(*node))
            .collect()
    }

    /// Children of every node, in the order of the file.
    pub fn children(&self) -> Vec<Vec<usize>> {
        let mut children = vec![Vec::new(); self.n_nodes()];
        for (node, parent) in self.parents.iter().enumerate().skip(1) {
            children[*parent].push(node);
        }
        children
    }

    /// Nodes of the tips by name.
    pub fn tip_of_name(&self) -> HashMap<&str, usize> {
        self.tips()
            .into_iter()
            .map(|tip| (self.names[tip].as_str(), tip))
            .collect()
    }

    /// Distance of every node to the root; a branch without length counts as 0.
    pub fn root_distances(&self) -> Vec<f64> {
        let mut distances = vec![0.0; self.n_nodes()];
        for node in 1..self.n_nodes() {
            distances[node] = distances[self.parents[node]] + self.lengths[node].unwrap_or(0.0);
        }
        distances
    }

    /// Patristic distances, the lengths of the paths between nodes: `nodes.len()` squared values in
    /// row-major order. A branch without length counts as 0.
    ///
    /// # Panics
    /// If a node is not less than the number of nodes.
    pub fn patristic(&self, nodes: &[usize]) -> Vec<f64> {
        let to_root = self.root_distances();
        let n = nodes.len();
        let mut distances = vec![0.0; n * n];
        for i in 0..n {
            for j in i + 1..n {
                // In preorder the later of two nodes cannot be an ancestor of the other.
                let (mut a, mut b) = (nodes[i], nodes[j]);
                while a != b {
                    let later = if a > b { &mut a } else { &mut b };
                    *later = self.parents[*later];
                }
                let distance = to_root[nodes[i]] + to_root[nodes[j]] - 2.0 * to_root[a];
                distances[i * n + j] = distance;
                distances[j * n + i] = distance;
            }
        }
        distances
    }

    /// The tree of these tips only.
    ///
    /// Inner nodes with one child are joined with it and their lengths added, except the root: it
    /// stays, so that distances to the root and between tips stay as they were.
    ///
    /// # Errors
    /// A name that no tip has, or no name at all.
    pub fn prune<S: AsRef<str>>(&self, names: &[S]) -> Result<Tree> {
        let tip_of_name = self.tip_of_name();
        let mut n_kept_below = vec![0usize; self.n_nodes()];
        let missing: Vec<&str> = names
            .iter()
            .map(AsRef::as_ref)
            .filter(|name| !tip_of_name.contains_key(name))
            .collect();
        if names.is_empty() || !missing.is_empty() {
            return Err(Error::Invalid(format!(
                "the tree lacks {} of {} features, such as {:?}; take another tree, or only the \
                 features that are in it",
                missing.len(),
                names.len(),
                &missing[..missing.len().min(3)],
            )));
        }
        for name in names {
            n_kept_below[tip_of_name[name.as_ref()]] = 1;
        }
        let mut n_kept_children = vec![0usize; self.n_nodes()];
        for node in (1..self.n_nodes()).rev() {
            if n_kept_below[node] > 0 {
                let parent = self.parents[node];
                n_kept_below[parent] += n_kept_below[node];
                n_kept_children[parent] += 1;
            }
        }
        let mut pruned = Tree::default();
        pruned.add(NONE);
        pruned.names[0].clone_from(&self.names[0]);
        pruned.lengths[0] = self.lengths[0];
        // Where a kept node went, and the length gathered above a joined one.
        let mut new_of = vec![NONE; self.n_nodes()];
        let mut gathered: Vec<Option<f64>> = vec![None; self.n_nodes()];
        new_of[0] = 0;
        for node in 1..self.n_nodes() {
            if n_kept_below[node] == 0 {
                continue;
            }
            let parent = self.parents[node];
            let length = match (gathered[parent], self.lengths[node]) {
                (Some(above), Some(own)) => Some(above + own),
                (above, own) => above.or(own),
            };
            if n_kept_children[node] == 1 {
                new_of[node] = new_of[parent];
                gathered[node] = length;
            } else {
                let new = pruned.add(new_of[parent]);
                pruned.lengths[new] = length;
                pruned.names[new].clone_from(&self.names[node]);
                new_of[node] = new;
            }
        }
        Ok(pruned)
    }

    /// The tree as one line of Newick, without loss of lengths.
    pub fn to_newick(&self) -> String {
        let mut text = String::new();
        let mut n_left = self.n_children.clone();
        for node in 0..self.n_nodes() {
            if !self.is_tip(node) {
                text.push('(');
                continue;
            }
            self.push_label(node, &mut text);
            // Close every node whose last child this was.
            let mut done = node;
            while self.parents[done] != NONE {
                let parent = self.parents[done];
                n_left[parent] -= 1;
                if n_left[parent] > 0 {
                    text.push(',');
                    break;
                }
                text.push(')');
                self.push_label(parent, &mut text);
                done = parent;
            }
        }
        text.push(';');
        text
    }

    /// Writes the tree as Newick; a name that ends in `.gz` is compressed.
    ///
    /// # Errors
    /// A file that is there already (unless replaced) or cannot be written.
    pub fn write(&self, path: &Path, overwrite: Overwrite) -> Result<()> {
        write_text(path, overwrite, |out| writeln!(out, "{}", self.to_newick()))
    }

    fn add(&mut self, parent: usize) -> usize {
        if parent != NONE {
            self.n_children[parent] += 1;
        }
        self.parents.push(parent);
        self.lengths.push(None);
        self.names.push(String::new());
        self.n_children.push(0);
        self.parents.len() - 1
    }

    fn push_label(&self, node: usize, text: &mut String) {
        let name = &self.names[node];
        if name.contains(SPECIAL) || name.contains(char::is_whitespace) {
            text.push('\'');
            text.push_str(&name.replace('\'', "''"));
            text.push('\'');
        } else {
            text.push_str(name);
        }
        if let Some(length) = self.lengths[node] {
            text.push_str(&format!(":{length:?}"));
        }
    }

    fn check_tips(&self, path: &Path) -> Result<()> {
        let mut seen = HashMap::new();
        for (position, tip) in self.tips().into_iter().enumerate() {
            let place = || format!("tip {}", position + 1);
            let name = self.names[tip].as_str();
            if name.is_empty() {
                return Err(Error::format(
                    path,
                    place(),
                    "no name",
                    "a name for every tip",
                ));
            }
            if let Some(first) = seen.insert(name, position + 1) {
                let found = format!("{name:?} again, first seen as tip {first}");
                return Err(Error::format(
                    path,
                    place(),
                    found,
                    "tips whose names occur once",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(text: &str) -> Result<Tree> {
        Tree::parse(text, Path::new("t.nwk"))
    }

    fn names(tree: &Tree) -> Vec<&str> {
        tree.tips()
            .into_iter()
            .map(|tip| tree.name(tip).unwrap())
            .collect()
    }

    #[test]
    fn names_lengths_quotes_and_comments_are_read() {
        let t = tree("[head [nested]]\n('it''s a':1.5, (b_1 [c]:2e-1,\n'x(y)')0.98:-3)root;\n")
            .unwrap();
        assert_eq!(names(&t), ["it's a", "b_1", "x(y)"]);
        assert_eq!(t.name(0), Some("root"));
        assert_eq!(t.name(2), Some("0.98"));
        assert_eq!(t.length(1), Some(1.5));
        assert_eq!(t.length(3), Some(0.2));
        assert_eq!(t.length(4), None);
        assert_eq!(
            t.children(),
            [vec![1, 2], vec![], vec![3, 4], vec![], vec![]]
        );
        assert_eq!(tree(&t.to_newick()).unwrap(), t);
        assert_eq!(names(&tree("only;").unwrap()), ["only"]);
    }

    // Distances by hand: a-b share the node at 2 from the root.
    #[test]
    fn distances_follow_the_branches() {
        let t = tree("((a:1,b:3):2,c:5,d);").unwrap();
        let tips = t.tips();
        let to_root: Vec<f64> = tips.iter().map(|tip| t.root_distances()[*tip]).collect();
        assert_eq!(to_root, [3.0, 5.0, 5.0, 0.0]);
        let d = t.patristic(&tips);
        assert_eq!(d[..4], [0.0, 4.0, 8.0, 3.0]);
        assert_eq!(d[4..8], [4.0, 0.0, 10.0, 5.0]);
        assert_eq!(d[2 * 4 + 3], 5.0);
    }

    #[test]
    fn pruning_keeps_distances_and_joins_branches() {
        let t = tree("(((a:1,b:3)x:2,c:5)y:1,(d:1,e:1):4)r;").unwrap();
        let pruned = t.prune(&["b", "a"]).unwrap();
        assert_eq!(pruned.to_newick(), "((a:1.0,b:3.0)x:3.0)r;");
        assert_eq!(t.prune(&["c", "e"]).unwrap().to_newick(), "(c:6.0,e:5.0)r;");
        assert_eq!(t.prune(&["a", "b", "c", "d", "e"]).unwrap(), t);
        let m = t.prune(&["a", "zz"]).unwrap_err().to_string();
        assert!(m.contains("lacks 1 of 2") && m.contains("zz"), "{m}");
        assert!(t.prune::<&str>(&[]).is_err());
    }

    #[test]
    fn broken_trees_name_the_place() {
        let message = |text: &str| tree(text).unwrap_err().to_string();
        assert!(
            message("((a,b);").contains("line 1, character 7: found ;, expected a ) for every (")
        );
        assert!(message("(a,b)\n").contains("ends in ;"));
        assert!(message("(a,\n b:x);").contains("line 2, character 4: found length \"x\""));
        assert!(message("(a,b);(c,d);").contains("more after the ;"));
        assert!(message("(a,a);").contains("\"a\" again, first seen as tip 1"));
        assert!(message("(a,'b);").contains("quote that does not close"));
        assert!(message("(a,[b);").contains("comment that does not close"));
        for text in [
            "",
            "(a,);",
            "a b,c;",
            "(a))b;",
            "(a,b)c d(e);",
            "(a:1:2,b);",
            "(a:inf,b);",
            "]",
            "(a,b)]",
        ] {
            assert!(tree(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_tree_a_hundred_thousand_levels_deep_is_read_pruned_and_written() {
        let depth = 100_000;
        let mut text = "(".repeat(depth);
        text.push_str("a:1,b0:1)");
        for level in 1..depth {
            text.push_str(&format!(":1,b{level}:1)"));
        }
        text.push(';');
        let t = tree(&text).unwrap();
        assert_eq!(t.n_nodes(), 2 * depth + 1);
        let a = t.tip_of_name()["a"];
        assert_eq!(t.root_distances()[a], depth as f64);
        assert_eq!(tree(&t.to_newick()).unwrap(), t);
        let pruned = t.prune(&["a", "b0"]).unwrap();
        assert_eq!(pruned.n_nodes(), 4);
    }

    /// A tree of `n` tips from a list of numbers that say where each tip is attached.
    fn grown(attach: &[usize]) -> Tree {
        let mut children: Vec<Vec<usize>> = vec![vec![]];
        for (i, at) in attach.iter().enumerate() {
            children.push(vec![]);
            children[at % (i + 1)].push(i + 1);
        }
        fn text(children: &[Vec<usize>], node: usize) -> String {
            let inner: Vec<String> = children[node].iter().map(|c| text(children, *c)).collect();
            let open = if inner.is_empty() {
                String::new()
            } else {
                format!("({})", inner.join(","))
            };
            format!("{open}'n {node}':{}", node as f64 * 0.37)
        }
        tree(&format!("{};", text(&children, 0))).unwrap()
    }

    proptest! {
        #[test]
        fn any_tree_is_written_without_loss_and_pruned_without_moving_tips(
            attach in proptest::collection::vec(0usize..1000, 1..40),
            keep in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let t = grown(&attach);
            prop_assert_eq!(&tree(&t.to_newick()).unwrap(), &t);
            let kept: Vec<&str> =
                names(&t).into_iter().zip(&keep).filter(|(_, k)| **k).map(|(n, _)| n).collect();
            prop_assume!(!kept.is_empty());
            let p = t.prune(&kept).unwrap();
            prop_assert_eq!(names(&p), kept.clone());
            let old = t.tip_of_name();
            let old_tips: Vec<usize> = kept.iter().map(|name| old[name]).collect();
            for (a, b) in t.patristic(&old_tips).iter().zip(p.patristic(&p.tips())) {
                prop_assert!((a - b).abs() < 1e-9);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[(),:;'a1 .\\[\\]é-]{0,40}") {
            let _ = tree(&text);
        }
    }
}
