// SPDX-License-Identifier: Apache-2.0
internal import FoundationEssentials

// JSON has no infinities and no NaN; these texts stand for them, in both directions.
private let (infinity, minusInfinity, notANumber) = ("Infinity", "-Infinity", "NaN")

extension JSONEncoder {
    static func raystore(_ collector: RefCollector) -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.userInfo[RefCollector.key] = collector
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: infinity, negativeInfinity: minusInfinity, nan: notANumber)
        return encoder
    }
}

extension JSONDecoder {
    static func raystore(_ collector: RefCollector) -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.userInfo[RefCollector.key] = collector
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: infinity, negativeInfinity: minusInfinity, nan: notANumber)
        return decoder
    }
}
