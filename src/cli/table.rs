//! Tables for people: ruled on a terminal, plain columns in a pipe.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table of text.
#[derive(Debug)]
pub struct TextTable {
    table: Table,
    is_terminal: bool,
}

impl TextTable {
    /// A table with these column heads; `is_terminal` says whether a person looks at it.
    #[must_use]
    pub fn new(heads: &[&str], is_terminal: bool) -> Self {
        let mut table = Table::new();
        if is_terminal {
            table.load_style(presets::UTF8_FULL_CONDENSED);
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.load_style(presets::NOTHING);
            table.set_content_arrangement(ContentArrangement::Disabled);
            table.force_no_tty();
        }
        table.set_header(heads.to_vec());
        Self { table, is_terminal }
    }

    /// Puts the numbers of these columns (from 0) on the right.
    #[must_use]
    pub fn right(mut self, columns: &[usize]) -> Self {
        for column in columns {
            if let Some(column) = self.table.column_mut(*column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    /// Adds a row.
    pub fn row<I, T>(&mut self, cells: I)
    where
        I: IntoIterator<Item = T>,
        T: ToString,
    {
        let cells: Vec<String> = cells
            .into_iter()
            .map(|cell| clean(&cell.to_string()))
            .collect();
        self.table.add_row(cells);
    }

    /// The table as text, without a newline at its end.
    #[must_use]
    pub fn render(&self) -> String {
        if self.is_terminal {
            return self.table.to_string();
        }
        let lines: Vec<String> = self
            .table
            .lines()
            .map(|line| {
                let line = line.trim_end();
                line.strip_prefix(' ').unwrap_or(line).to_owned()
            })
            .collect();
        lines.join("\n")
    }
}

/// Text without control characters: a name from outside must not move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| *c == '\n' || !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(is_terminal: bool) -> String {
        let mut table = TextTable::new(&["tenant", "cap"], is_terminal).right(&[1]);
        table.row(["acme", "500.00 USD"]);
        table.row(["b\u{1b}[31m", "5.00 USD"]);
        table.render()
    }

    #[test]
    fn a_pipe_gets_plain_columns() {
        assert_eq!(
            table(false),
            "tenant         cap\nacme    500.00 USD\nb[31m     5.00 USD"
        );
    }

    #[test]
    fn a_terminal_gets_rules_and_no_escapes_of_others() {
        let shown = table(true);
        assert!(shown.contains('│'), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}
