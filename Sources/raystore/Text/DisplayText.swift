// SPDX-License-Identifier: Apache-2.0

extension String {
    /// How many columns of a terminal the text takes: none for combining marks, two for East Asian and emoji characters.
    var displayWidth: Int {
        reduce(0) { $0 + $1.displayWidth }
    }

    /// The text with control characters written out, so that a file's name can neither break a line nor drive the terminal.
    var printable: String {
        guard unicodeScalars.contains(where: \.isControl) else { return self }
        var text = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "\n": text += "\\n"
            case "\t": text += "\\t"
            case "\r": text += "\\r"
            case let scalar where scalar.isControl: text += "\\u{\(String(scalar.value, radix: 16))}"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    /// The text shortened to so many columns, its end replaced by "…".
    func clipped(to columns: Int) -> String {
        guard displayWidth > columns else { return self }
        guard columns > 0 else { return "" }
        var text = ""
        var width = 0
        for character in self {
            width += character.displayWidth
            if width > columns - 1 { break }
            text.append(character)
        }
        return text + "…"
    }

    /// The text with spaces added on one side until it takes so many columns.
    func padded(to columns: Int, _ alignment: Table.Alignment) -> String {
        let spaces = String(repeating: " ", count: max(0, columns - displayWidth))
        return alignment == .left ? self + spaces : spaces + self
    }
}

extension Character {
    var displayWidth: Int {
        guard let first = unicodeScalars.first else { return 0 }
        if first.isControl { return 0 }
        switch first.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        if unicodeScalars.contains(where: { $0.properties.isEmojiPresentation || $0.value == 0xFE0F }) { return 2 }
        switch first.value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
            0xAC00...0xD7A3,
            0xF900...0xFAFF, 0xFE30...0xFE4F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x20000...0x3FFFD:
            return 2
        default:
            return 1
        }
    }
}

extension Unicode.Scalar {
    /// C0 and C1 controls, and the separators and direction marks that would break a line or turn it around.
    var isControl: Bool {
        switch value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
