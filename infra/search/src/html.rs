//! Text in HTML.

pub const MARK: &str = "<mark>";
pub const MARK_END: &str = "</mark>";

/// Writes text so that a browser shows it as it is, as content and in an attribute.
pub fn escape(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_html_is_shown_instead() {
        let mut html = String::new();
        escape("<b class=\"x\">R&B's</b>", &mut html);
        assert_eq!(html, "&lt;b class=&quot;x&quot;&gt;R&amp;B&#39;s&lt;/b&gt;");
    }
}
