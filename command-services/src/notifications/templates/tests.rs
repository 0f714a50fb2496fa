use super::super::letter::{Line, Part, Recipient, Shipping, Tax};
use super::*;
use kontor_domain::{CartId, Currency, Money, Quantity, ReturnId};
use uuid::Uuid;

fn money(amount_minor: i64, currency: &str) -> String {
    Money::new(amount_minor, Currency::from_code(currency).expect("a currency")).to_string()
}

fn units(n: u64) -> Quantity {
    Quantity::new(n).expect("few units")
}

fn recipient(name: &str) -> Recipient {
    Recipient { lines: vec![name.into(), "12 St James's Square".into(), "London".into()], country: "GB".into() }
}

/// Two mugs for 24.00 with tax, and 4.95 for shipping, in whatever currency.
fn confirmed(product: &str, buyer: &str, currency: &str) -> Letter {
    Letter::OrderConfirmed {
        number: "AZF9-R9XZ-8KZK".into(),
        placed_on: "1 December 2026".into(),
        lines: vec![Line {
            name: product.into(),
            sku: "MUG".parse().expect("a SKU"),
            quantity: units(2),
            unit_price: money(1_200, currency),
            tax: money(400, currency),
            total: money(2_400, currency),
        }],
        shipping: Some(Shipping { method: "standard".into(), total: money(495, currency) }),
        taxes: vec![Tax { rate: "20 %".into(), net: money(2_412, currency), tax: money(483, currency) }],
        total: money(2_895, currency),
        shipping_address: recipient(buyer),
        billing_address: recipient("Accounts"),
    }
}

fn mugs() -> Vec<Part> {
    vec![Part { name: "Enamel mug".into(), sku: "MUG".parse().expect("a SKU"), quantity: units(2) }]
}

fn shipped(tracking: Option<&str>, complete: bool) -> Letter {
    Letter::Shipped {
        number: "AZF9-R9XZ-8KZK".into(),
        shipped_on: "2 December 2026".into(),
        parts: mugs(),
        tracking: tracking.map(Into::into),
        complete,
        shipping_address: recipient("Ada Lovelace"),
    }
}

fn templates() -> Templates {
    let settings = MailSettings {
        shop_name: "Mugs & more".into(),
        base_url: "https://mugs.example".into(),
        ..MailSettings::default()
    };
    Templates::load(&settings).expect("the built-in templates")
}

fn render(letter: &Letter) -> Rendered {
    let Rendered { subject, text, html } = templates().render(letter).expect("a mail");
    Rendered { subject, text, html: html.replace("&#x2f;", "/") } // A slash is escaped, too, which changes nothing.
}

#[test]
fn a_confirmation_is_a_bill_that_adds_up() {
    let Rendered { subject, text, html } = render(&confirmed("Enamel mug", "Ada Lovelace", "GBP"));
    assert_eq!(subject, "Your order AZF9-R9XZ-8KZK at Mugs & more");
    assert_eq!(
        text,
        "\
Thank you for your order.

We have received your order AZF9-R9XZ-8KZK of 1 December 2026 and are getting it ready.

2 x Enamel mug (MUG)
    12.00 GBP each, tax 4.00 GBP, total 24.00 GBP
Shipping (standard): 4.95 GBP

Total: 28.95 GBP
    of which 20 % tax on 24.12 GBP: 4.83 GBP

The goods go to
    Ada Lovelace
    12 St James's Square
    London
    GB

The invoice goes to
    Accounts
    12 St James's Square
    London
    GB

Look at your order: https://mugs.example/orders/AZF9-R9XZ-8KZK

-- 
Mugs & more
https://mugs.example"
    );
    for shown in ["12.00 GBP", "4.00 GBP", "24.00 GBP", "4.95 GBP", "28.95 GBP", "4.83 GBP", "Ada Lovelace", "Accounts"]
    {
        assert!(html.contains(shown), "{shown} is missing in\n{html}");
    }
    assert!(html.starts_with("<!doctype html>") && html.contains("Mugs &amp; more"), "{html}");
}

#[test]
fn names_that_look_like_markup_are_shown_as_they_are() {
    let Rendered { subject, text, html } = render(&confirmed("<b>Mug</b>", "<script>alert('x')</script>", "GBP"));
    assert!(html.contains("&lt;b&gt;Mug&lt;/b&gt;"), "{html}");
    assert!(!html.contains("<b>") && !html.contains("<script"), "{html}");
    assert!(text.contains("2 x <b>Mug</b> (MUG)") && text.contains("<script>alert('x')</script>"), "{text}");
    assert!(!subject.contains("&amp;"), "{subject}");
}

#[test]
fn names_that_look_like_templates_are_not_filled_in() {
    let Rendered { text, html, .. } = render(&confirmed("{{ total }}", "{% block body %}", "GBP"));
    assert!(text.contains("2 x {{ total }} (MUG)") && html.contains("{% block body %}"), "{text}{html}");
}

#[test]
fn amounts_have_the_digits_of_their_currency() {
    for (currency, total) in [("JPY", "2895 JPY"), ("KWD", "2.895 KWD"), ("EUR", "28.95 EUR")] {
        let Rendered { text, html, .. } = render(&confirmed("Enamel mug", "Ada Lovelace", currency));
        assert!(text.contains(&format!("Total: {total}\n")) && html.contains(total), "{text}{html}");
    }
}

#[test]
fn a_shipment_says_what_left_and_whether_more_follows() {
    let whole = render(&shipped(Some("RM 123"), true));
    assert_eq!(whole.subject, "Your order AZF9-R9XZ-8KZK is on its way");
    assert!(whole.text.contains("2 x Enamel mug (MUG)\n\nThe carrier knows them as RM 123.\n"), "{}", whole.text);
    assert!(whole.html.contains("RM 123") && !whole.html.contains("The rest follows"), "{}", whole.html);
    let part = render(&shipped(None, false));
    assert_eq!(part.subject, "Part of your order AZF9-R9XZ-8KZK is on its way");
    assert!(part.text.contains("The rest follows") && !part.text.contains("carrier"), "{}", part.text);
}

#[test]
fn a_refund_says_how_much_and_for_what() {
    let refunded = |total: i64| Letter::Refunded {
        number: "AZF9-R9XZ-8KZK".into(),
        amount: money(1_200, "GBP"),
        refunded_total: money(total, "GBP"),
        return_id: ReturnId(Uuid::from_u128(1)),
        parts: mugs(),
    };
    let first = render(&refunded(1_200));
    assert_eq!(first.subject, "We have refunded 12.00 GBP for your order AZF9-R9XZ-8KZK");
    assert!(first.text.contains("2 x Enamel mug (MUG)") && !first.text.contains("earlier refunds"), "{}", first.text);
    assert!(first.html.contains("00000000-0000-0000-0000-000000000001"), "{}", first.html);
    let second = render(&refunded(2_400));
    assert!(second.text.contains("With earlier refunds that makes 24.00 GBP"), "{}", second.text);
}

#[test]
fn a_reminder_leads_back_to_the_cart() {
    let cart_id = CartId(Uuid::from_u128(1));
    let Rendered { subject, text, html } = render(&Letter::CartAbandoned { cart_id, parts: mugs() });
    assert_eq!(subject, "Your cart at Mugs & more");
    let link = format!("https://mugs.example/carts/{cart_id}");
    assert!(text.contains(&link) && html.contains(&link), "{text}{html}");
}

#[test]
fn a_folder_replaces_templates_and_a_broken_one_is_named() {
    let folder = std::env::temp_dir().join(format!("kontor-templates-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).expect("a folder");
    let load = |text: &str| {
        std::fs::write(folder.join("shipped.txt"), text).expect("it is written");
        Templates::load(&MailSettings { templates_folder: Some(folder.clone()), ..MailSettings::default() })
    };
    let own = load("Subject: Off it goes\n\n{{ number }}").expect("templates");
    let Rendered { subject, text, html } = own.render(&shipped(None, true)).expect("a mail");
    assert_eq!((subject.as_str(), text.as_str()), ("Off it goes", "AZF9-R9XZ-8KZK"));
    assert!(html.contains("is on its way"), "the others are as they were: {html}");

    let broken = load("Subject: {{ number").err().expect("it is no template");
    assert!(format!("{broken:#}").contains("shipped.txt"), "{broken:#}");
    let unknown = load("Subject: {{ nobody_knows }}\n").expect("a template").render(&shipped(None, true));
    assert!(format!("{:#}", unknown.expect_err("there is no such value")).contains("shipped.txt"));
    let without = load("Off it goes").expect("a template").render(&shipped(None, true)).expect_err("no subject");
    assert_eq!(without.to_string(), "shipped.txt does not begin with a line \"Subject: ...\"");
    std::fs::remove_dir_all(&folder).expect("it is removed");
}
