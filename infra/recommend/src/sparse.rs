//! Rows of few entries: what of one item matters to others.

use serde::{Deserialize, Serialize};

/// A row for each item: other items with a weight each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sparse {
    /// Where each row begins, and behind the last where it ends.
    starts: Vec<u32>,
    entries: Vec<(u32, f32)>,
}

impl Sparse {
    /// Rows in the order of the items.
    pub fn of(rows: impl IntoIterator<Item = Vec<(u32, f32)>>) -> Self {
        let mut sparse = Self { starts: vec![0], entries: Vec::new() };
        for row in rows {
            sparse.entries.extend(row);
            sparse.starts.push(sparse.entries.len() as u32);
        }
        sparse
    }

    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Empty for an item beyond the last row.
    pub fn row(&self, item: u32) -> &[(u32, f32)] {
        match self.starts.get(item as usize..item as usize + 2) {
            Some(&[start, end]) => &self.entries[start as usize..end as usize],
            _ => &[],
        }
    }

    /// Whether all rows lie within `entries`, and all entries below `columns`: so when it was stored by us.
    pub fn is_sound(&self, rows: usize, columns: usize) -> bool {
        self.rows() == rows
            && self.starts.is_sorted()
            && self.starts.last().is_some_and(|end| *end as usize == self.entries.len())
            && self.entries.iter().all(|(item, _)| (*item as usize) < columns)
    }
}

/// The `most` entries of largest weight, largest first; among equals the lower item first.
pub(crate) fn largest(mut entries: Vec<(u32, f32)>, most: usize) -> Vec<(u32, f32)> {
    let order = |(a, x): &(u32, f32), (b, y): &(u32, f32)| y.total_cmp(x).then(a.cmp(b));
    if entries.len() > most && most > 0 {
        entries.select_nth_unstable_by(most - 1, order);
    }
    entries.truncate(most);
    entries.sort_unstable_by(order);
    entries
}
