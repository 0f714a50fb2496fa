//! Fractions of a minor unit: a sum is rounded once, and its parts are made to add up to it.

use std::cmp::Reverse;

/// The `numerator / denominator` of each of `amounts`, in whole minor units and in their order. The parts add up to
/// that fraction of the sum, rounded half up; each is off by less than one unit.
///
/// The largest remainder method (Hamilton's; M. L. Balinski and H. P. Young, Fair Representation, 1982): each part is
/// rounded down, and what is then missing goes, a unit each, to those that lost most. Of equal losers, to the earlier.
pub(super) fn apportion(amounts: &[i64], numerator: u32, denominator: u32) -> Vec<i128> {
    let (numerator, denominator) = (i128::from(numerator), i128::from(denominator));
    let exact = |amount: i128| amount * numerator; // In units of 1 / denominator; 64 + 32 bits, and 31 for the sum.
    let sum: i128 = amounts.iter().copied().map(i128::from).sum();
    let rounded = (2 * exact(sum) + denominator).div_euclid(2 * denominator);

    let products: Vec<i128> = amounts.iter().map(|&amount| exact(i128::from(amount))).collect();
    let mut parts: Vec<i128> = products.iter().map(|product| product.div_euclid(denominator)).collect();
    let missing = rounded - parts.iter().sum::<i128>();

    let mut losers: Vec<usize> = (0..parts.len()).collect();
    losers.sort_by_key(|&part| Reverse(products[part].rem_euclid(denominator)));
    for (_, part) in (0..missing).zip(losers) {
        parts[part] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_missing_unit_goes_to_who_lost_most() {
        // 20 % of 1.01, 1.04 and 1.02 are 20.2, 20.8 and 20.4 pence: 61.4 together.
        assert_eq!(apportion(&[101, 104, 102], 2_000, 10_000), [20, 21, 20]);
    }

    #[test]
    fn of_equal_losers_the_earlier_gets_it() {
        // 20 % of 1.02 is 20.4 pence; of all three, 61.2.
        assert_eq!(apportion(&[102, 102, 102], 2_000, 10_000), [21, 20, 20]);
    }

    #[test]
    fn half_a_unit_is_rounded_up() {
        assert_eq!(apportion(&[5], 1_000, 10_000), [1]);
        assert_eq!(apportion(&[4], 1_000, 10_000), [0]);
    }

    #[test]
    fn the_largest_amounts_do_not_overflow() {
        let whole = i128::from(i64::MAX) * i128::from(u32::MAX);
        assert_eq!(apportion(&[i64::MAX, i64::MAX], u32::MAX, 1), [whole, whole]);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_none_is_off_by_a_unit(
            amounts in prop::collection::vec(0..=i64::MAX, 0..50),
            numerator in any::<u32>(),
            denominator in 1..=u32::MAX,
        ) {
            let parts = apportion(&amounts, numerator, denominator);
            let (numerator, denominator) = (i128::from(numerator), i128::from(denominator));
            let sum: i128 = amounts.iter().copied().map(i128::from).sum();
            let off = 2 * (parts.iter().sum::<i128>() * denominator - sum * numerator);
            prop_assert!(-denominator < off && off <= denominator, "the sum is rounded half up");
            for (part, amount) in parts.iter().zip(&amounts) {
                let off = part * denominator - i128::from(*amount) * numerator;
                prop_assert!(off.abs() < denominator);
            }
        }
    }
}
