//! A delimited text file as cells, each row with the line it came from: encoding, delimiter and
//! header found from the file itself.

use super::{Faults, ImportError};

/// Rows before which a header must have come.
const HEADER_WITHIN: usize = 15;
/// Records by which a delimiter is judged.
const SNIFFED: usize = 40;

/// A table read from text.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<SheetRow>,
    /// What was decided about the file as a whole.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct SheetRow {
    pub(super) line: u64,
    pub(super) cells: Vec<String>,
}

impl Sheet {
    /// Reads a file. `recognised` says how many of a row's cells are headers it knows: the delimiter
    /// and the header row are those that make most sense of the file.
    ///
    /// # Errors
    /// When the file is empty, another kind of file, in no known encoding, or its rows do not fit
    /// its header.
    pub(super) fn read(
        bytes: &[u8],
        recognised: &dyn Fn(&[String]) -> usize,
    ) -> Result<Self, ImportError> {
        refuse_other_kinds(bytes)?;
        let (text, encoding) = decode(bytes)?;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        refuse_markup(&text)?;
        let mut notes = Vec::new();
        if let Some(encoding) = encoding {
            notes.push(encoding.to_owned());
        }
        let (body, skipped, told) = sep_line(&text);
        let (delimiter, header_at) = told.map_or_else(
            || sniff(body, recognised),
            |d| (d, header_row(body, d, recognised)),
        );
        let mut records = split(body, delimiter, skipped)?.into_iter();
        let before = records.by_ref().take(header_at).count();
        if before > 0 {
            notes.push(format!(
                "{before} line(s) before the header row were skipped"
            ));
        }
        let header = records.next().ok_or(ImportError::Empty)?;
        let rows: Vec<SheetRow> = records.collect();
        // Of a file without any known header the missing columns are the better thing to tell.
        if recognised(&header.cells) > 0 {
            check_widths(&header, &rows)?;
        }
        Ok(Self {
            header: header.cells,
            rows,
            notes,
        })
    }
}

fn refuse_other_kinds(bytes: &[u8]) -> Result<(), ImportError> {
    let is = |magic: &[u8]| bytes.starts_with(magic);
    let refuse = |what, remedy| Err(ImportError::NotCsv { what, remedy });
    const AS_CSV: &str =
        "export it again as CSV, or open it in a spreadsheet and save it as \"CSV UTF-8\"";
    if is(b"PK\x03\x04") {
        return refuse("an Excel workbook or a zip archive", AS_CSV);
    }
    if is(b"\xD0\xCF\x11\xE0") {
        return refuse("an old Excel workbook", AS_CSV);
    }
    if is(b"%PDF") {
        return refuse("a PDF", AS_CSV);
    }
    if is(b"\x1F\x8B") {
        return refuse("a gzip archive", "unpack it first");
    }
    Ok(())
}

fn refuse_markup(text: &str) -> Result<(), ImportError> {
    let start: String = text
        .trim_start()
        .chars()
        .take(64)
        .collect::<String>()
        .to_ascii_lowercase();
    if start.is_empty() {
        return Err(ImportError::Empty);
    }
    if start.starts_with('<') {
        return Err(ImportError::NotCsv {
            what: "a web page (HTML) or XML",
            remedy: "the download was probably a login or error page: sign in and export again as CSV",
        });
    }
    let inner = start.strip_prefix(['{', '[']).map(str::trim_start);
    if inner.is_some_and(|rest| rest.starts_with(['"', '{', '[', '}', ']'])) {
        return Err(ImportError::NotCsv {
            what: "JSON",
            remedy: "export it again as CSV",
        });
    }
    Ok(())
}

/// The text of a file, and a note when its encoding was a guess.
fn decode(bytes: &[u8]) -> Result<(String, Option<&'static str>), ImportError> {
    if let Some(rest) = bytes.strip_prefix(b"\xEF\xBB\xBF") {
        return decode(rest);
    }
    for (mark, unit) in [
        (b"\xFF\xFE", u16::from_le_bytes as fn([u8; 2]) -> u16),
        (b"\xFE\xFF", u16::from_be_bytes),
    ] {
        if let Some(rest) = bytes.strip_prefix(mark) {
            return utf16(rest, unit).map(|text| (text, None));
        }
    }
    if bytes.contains(&0) {
        return Err(ImportError::NotCsv {
            what: "a binary file",
            remedy: "export it again as CSV, or save it as \"CSV UTF-8\" in a spreadsheet",
        });
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok((text.to_owned(), None)),
        Err(_) => windows_1252(bytes).map(|text| {
            let note = "the file is not UTF-8; it was read as Windows-1252: check accented letters in names";
            (text, Some(note))
        }),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, ImportError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let mut text = String::with_capacity(bytes.len() / 2);
    let mut line = 1;
    let mut in_line = 1;
    for decoded in char::decode_utf16(units) {
        match decoded {
            Ok(c) => {
                text.push(c);
                in_line += 2 * c.len_utf16() as u64;
                if c == '\n' {
                    (line, in_line) = (line + 1, 1);
                }
            }
            Err(_) => {
                return Err(ImportError::Encoding {
                    line,
                    byte_in_line: in_line,
                });
            }
        }
    }
    if rest.is_empty() {
        Ok(text)
    } else {
        Err(ImportError::Encoding {
            line,
            byte_in_line: in_line,
        })
    }
}

/// Windows-1252, which Excel writes in western Europe. Source: the WHATWG encoding standard's index,
/// save that the five bytes without a character are refused.
fn windows_1252(bytes: &[u8]) -> Result<String, ImportError> {
    const HIGH: [Option<char>; 32] = [
        Some('€'),
        None,
        Some('‚'),
        Some('ƒ'),
        Some('„'),
        Some('…'),
        Some('†'),
        Some('‡'),
        Some('ˆ'),
        Some('‰'),
        Some('Š'),
        Some('‹'),
        Some('Œ'),
        None,
        Some('Ž'),
        None,
        None,
        Some('‘'),
        Some('’'),
        Some('“'),
        Some('”'),
        Some('•'),
        Some('–'),
        Some('—'),
        Some('˜'),
        Some('™'),
        Some('š'),
        Some('›'),
        Some('œ'),
        None,
        Some('ž'),
        Some('Ÿ'),
    ];
    let mut text = String::with_capacity(bytes.len());
    let (mut line, mut in_line) = (1, 1);
    for &byte in bytes {
        let c = match byte {
            0x80..=0x9F => HIGH.get(usize::from(byte - 0x80)).copied().flatten(),
            // Control characters say that this is no text at all.
            0..=8 | 11 | 12 | 14..=31 | 127 => None,
            other => Some(char::from(other)),
        };
        text.push(c.ok_or(ImportError::Encoding {
            line,
            byte_in_line: in_line,
        })?);
        in_line += 1;
        if byte == b'\n' {
            (line, in_line) = (line + 1, 1);
        }
    }
    Ok(text)
}

/// Excel's own first line, `sep=;`: the text after it, how many lines that skipped, the delimiter.
fn sep_line(text: &str) -> (&str, u64, Option<char>) {
    if let Some((first, rest)) = text.split_once('\n')
        && let Some(mark) = first.trim().strip_prefix("sep=")
        && let Some(mark) = mark.chars().next().filter(|c| DELIMITERS.contains(c))
    {
        return (rest, 1, Some(mark));
    }
    (text, 0, None)
}

const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// The delimiter and header row under which most headers are recognised, else most rows have the
/// same number of cells.
fn sniff(text: &str, recognised: &dyn Fn(&[String]) -> usize) -> (char, usize) {
    let mut best = ((0, 0, 0), (',', 0));
    for delimiter in DELIMITERS {
        let head = head_of(text, delimiter);
        let at = header_row(text, delimiter, recognised);
        let known = head.get(at).map_or(0, |cells| recognised(cells));
        let width = head.get(at).map_or(0, Vec::len);
        let same = head.iter().filter(|cells| cells.len() == width).count();
        let score = (known, if width > 1 { same } else { 0 }, width);
        if score > best.0 {
            best = (score, (delimiter, at));
        }
    }
    best.1
}

fn header_row(text: &str, delimiter: char, recognised: &dyn Fn(&[String]) -> usize) -> usize {
    let head = head_of(text, delimiter);
    let mut best = (0, 0);
    for (at, cells) in head.iter().take(HEADER_WITHIN).enumerate() {
        let known = recognised(cells);
        if known > best.0 {
            best = (known, at);
        }
    }
    best.1
}

fn head_of(text: &str, delimiter: char) -> Vec<Vec<String>> {
    // Quoted line breaks make a record longer than a line; twice the lines are enough to judge by.
    let end = text
        .match_indices('\n')
        .nth(SNIFFED * 2)
        .map_or(text.len(), |(at, _)| at);
    let part = text.get(..end).unwrap_or(text);
    reader(part, delimiter)
        .into_records()
        .map_while(Result::ok)
        .map(|record| record.iter().map(str::to_owned).collect::<Vec<_>>())
        .filter(|cells| cells.iter().any(|c| !c.trim().is_empty()))
        .take(SNIFFED)
        .collect()
}

fn reader(text: &str, delimiter: char) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(u8::try_from(delimiter).unwrap_or(b','))
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(text.as_bytes())
}

fn split(text: &str, delimiter: char, lines_before: u64) -> Result<Vec<SheetRow>, ImportError> {
    let mut faults = Faults::default();
    let mut rows = Vec::new();
    let (mut line, mut counted_to) = (1 + lines_before, 0_usize);
    let mut last_raw = "";
    for record in reader(text, delimiter).into_records() {
        let Ok(record) = record else {
            // The text is UTF-8 and rows may have any width: the reader has nothing left to refuse.
            continue;
        };
        let from = record
            .position()
            .and_then(|p| usize::try_from(p.byte()).ok())
            .unwrap_or(counted_to);
        // The reader places a record before the empty lines that it skipped.
        let rest = text.get(from..).unwrap_or("");
        let start = from + (rest.len() - rest.trim_start_matches('\n').len());
        line += text
            .get(counted_to..start)
            .map_or(0, |passed| passed.matches('\n').count() as u64);
        counted_to = start;
        last_raw = text.get(start..).unwrap_or("");
        let cells: Vec<String> = record.iter().map(|c| c.trim().to_owned()).collect();
        if cells.iter().any(|c| !c.is_empty()) {
            rows.push(SheetRow { line, cells });
        }
    }
    // Inside quotes a quote is doubled, so an odd number in the last record means that one is open
    // and has swallowed what follows it.
    if last_raw.matches('"').count() % 2 == 1 && last_raw.trim_end().contains('\n') {
        faults.add(line, None, "a quote that opens in this row is never closed");
    }
    if faults.total > 0 {
        return Err(ImportError::Unreadable { faults });
    }
    Ok(rows)
}

fn check_widths(header: &SheetRow, rows: &[SheetRow]) -> Result<(), ImportError> {
    let mut faults = Faults::default();
    let width = header.cells.len();
    for row in rows {
        let surplus = row.cells.iter().skip(width).any(|c| !c.is_empty());
        if row.cells.len() < width || surplus {
            faults.add(
                row.line,
                None,
                format!(
                    "it has {} cells where the header has {width}: the file is cut off here, or a name holds the \
                     delimiter without quotes",
                    row.cells.len()
                ),
            );
        }
    }
    if faults.total > 0 {
        return Err(ImportError::Unreadable { faults });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(cells: &[String]) -> usize {
        cells
            .iter()
            .filter(|c| matches!(c.trim(), "name" | "spend" | "day"))
            .count()
    }

    fn read(bytes: &[u8]) -> Result<Sheet, ImportError> {
        Sheet::read(bytes, &known)
    }

    fn rows(sheet: &Sheet) -> Vec<(u64, String)> {
        sheet
            .rows
            .iter()
            .map(|r| (r.line, r.cells.join("|")))
            .collect()
    }

    #[test]
    fn delimiters_and_encodings_are_found() {
        let expected = vec![(2, "a, ä|1,5".to_owned()), (4, "b|2".to_owned())];
        let semicolons = "name;spend\na, ä;1,5\n\nb;2\n";
        assert_eq!(rows(&read(semicolons.as_bytes()).unwrap()), expected);
        let commas = "name,spend\r\n\"a, ä\",\"1,5\"\r\n\r\nb,2\r\n";
        assert_eq!(rows(&read(commas.as_bytes()).unwrap()), expected);
        let tabs = semicolons.replace(';', "\t");
        assert_eq!(rows(&read(tabs.as_bytes()).unwrap()), expected);
        let marked = [b"\xEF\xBB\xBF".as_slice(), commas.as_bytes()].concat();
        assert_eq!(rows(&read(&marked).unwrap()), expected);
        let little: Vec<u8> = std::iter::once(0xFEFF)
            .chain(tabs.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(rows(&read(&little).unwrap()), expected);
        let big: Vec<u8> = std::iter::once(0xFEFF)
            .chain(tabs.encode_utf16())
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(rows(&read(&big).unwrap()), expected);
        let western = semicolons.as_bytes().to_vec();
        let at = western
            .windows(2)
            .position(|w| w == "ä".as_bytes())
            .unwrap();
        let western = [&western[..at], b"\xE4", &western[at + 2..]].concat();
        let sheet = read(&western).unwrap();
        assert_eq!(rows(&sheet), expected);
        assert!(sheet.notes[0].contains("Windows-1252"));
    }

    #[test]
    fn lines_before_the_header_are_told_and_line_numbers_stay_true() {
        let sheet = read(b"sep=;\nAccount report\n\nname;spend\n\"x\ny\";1\nz;2\n").unwrap();
        assert_eq!(
            rows(&sheet),
            vec![(5, "x\ny|1".to_owned()), (7, "z|2".to_owned())]
        );
        assert_eq!(
            sheet.notes,
            ["1 line(s) before the header row were skipped"]
        );
    }

    #[test]
    fn other_kinds_of_file_are_named() {
        for (bytes, word) in [
            (b"".as_slice(), "empty"),
            (b"  \n \n", "empty"),
            (b"PK\x03\x04rest", "Excel"),
            (b"\xD0\xCF\x11\xE0", "Excel"),
            (b"%PDF-1.7", "PDF"),
            (b"\x1F\x8B\x08", "gzip"),
            (b"\n <!DOCTYPE html><html>", "HTML"),
            (b"{\"data\":[]}", "JSON"),
            (b"name,spend\n\0\0,1", "binary"),
            (b"name,spend\n\x81,1", "line 2, byte 1"),
            (b"\xFF\xFEn\0a", "line 1, byte 3"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_refused_with_their_line() {
        let error = read(b"name,spend\na,1\nb\nc,1,2\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 3: it has 1 cells"), "{error}");
        assert!(error.contains("line 4: it has 3 cells"), "{error}");
        let error = read(b"name,spend\na,1\n\"b,2\nc,3\nd,4\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 3: a quote"), "{error}");
        assert!(read(b"name,spend\na,1,,\n").is_ok());
    }
}
