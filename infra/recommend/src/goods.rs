//! Codes that shops book under and that are no goods.

/// Postage, carriage, manual entries, discounts, samples, fees, adjustments, vouchers and tests, as the shop of *Online
/// Retail II* names them and others do alike.
const CODES: [&str; 24] = [
    "POST",
    "DOT",
    "C2",
    "C3",
    "23444",
    "M",
    "D",
    "S",
    "B",
    "BANK CHARGES",
    "BANK-CHARGES",
    "AMAZONFEE",
    "CRUK",
    "ADJUST",
    "ADJUST2",
    "PADS",
    "POSTAGE",
    "CARRIAGE",
    "DISCOUNT",
    "FEE",
    "MANUAL",
    "SAMPLE",
    "SHIPPING",
    "VOUCHER",
];
const PREFIXES: [&str; 3] = ["GIFT_", "TEST", "DCGSSVOUCHER"];

/// Whether `code` is one of goods: nothing else is learnt from or recommended.
pub fn is_goods(code: &str) -> bool {
    let is_one_of_them = CODES.iter().any(|other| code.eq_ignore_ascii_case(other));
    let begins = |prefix: &&str| code.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    !is_one_of_them && !PREFIXES.iter().any(begins)
}
