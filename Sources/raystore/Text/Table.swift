// SPDX-License-Identifier: Apache-2.0

/// Rows of text in aligned columns, under a line of titles.
struct Table {
    enum Alignment {
        case left
        case right
    }

    struct Column {
        let title: String
        let alignment: Alignment

        init(_ title: String, _ alignment: Alignment = .left) {
            self.title = title
            self.alignment = alignment
        }
    }

    let columns: [Column]
    private(set) var rows: [[String]] = []

    init(_ columns: Column...) {
        self.columns = columns
    }

    /// Control characters are written out: a cell may hold a file's name.
    mutating func add(_ cells: String...) {
        precondition(cells.count == columns.count, "a row has a cell for each column")
        rows.append(cells.map(\.printable))
    }

    /// The titles and the rows, each a line without spaces at its end; two spaces between columns.
    func lines(indent: Int = 0) -> [String] {
        let all = [columns.map(\.title)] + rows
        let widths = columns.indices.map { column in all.map { $0[column].displayWidth }.max() ?? 0 }
        let margin = String(repeating: " ", count: indent)
        return all.map { row in
            var line = columns.indices.map { row[$0].padded(to: widths[$0], columns[$0].alignment) }.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return margin + line
        }
    }

    func text(indent: Int = 0) -> String {
        lines(indent: indent).joined(separator: "\n")
    }
}
