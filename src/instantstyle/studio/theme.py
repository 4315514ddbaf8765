"""Colours and fonts of the page. Only system fonts are used, so that the browser fetches none."""

from pathlib import Path

from gradio.themes.base import Base
from gradio.themes.utils import colors, sizes
from gradio.themes.utils.fonts import Font

CSS = Path(__file__).with_name("studio.css")

# The accent colour marks selected elements and the keyboard focus.
_ACCENT = colors.Color(
    c50="#fdf3f0",
    c100="#fbe3dc",
    c200="#f6c6b9",
    c300="#eea08c",
    c400="#e47758",
    c500="#d2512f",
    c600="#b94121",
    c700="#96341b",
    c800="#782c1a",
    c900="#5f2619",
    c950="#33110a",
    name="accent",
)
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace")


def build_theme() -> Base:
    """Build the theme. It has light and dark colours; the browser's preference selects them."""
    base = Base(
        primary_hue=_ACCENT,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_md,
        font=[Font(name) for name in _SANS],
        font_mono=[Font(name) for name in _MONO],
    )
    return base.set(
        body_background_fill="#faf9f7",
        body_background_fill_dark="#171513",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_padding="0px",
        block_border_color="*neutral_300",
        block_border_color_dark="#47413c",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        layout_gap="14px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_shadow="none",
        input_background_fill="white",
        input_background_fill_dark="#201d1a",
        input_border_width="1px",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_500",
        input_shadow_focus="none",
        input_shadow_focus_dark="none",
        input_border_color="*neutral_300",
        input_border_color_dark="#47413c",
        button_primary_background_fill="*neutral_900",
        button_primary_background_fill_hover="*neutral_700",
        button_primary_border_color="*neutral_900",
        button_primary_border_color_dark="*neutral_100",
        button_primary_border_color_hover="*neutral_700",
        button_primary_border_color_hover_dark="white",
        button_primary_text_color="white",
        button_primary_background_fill_dark="*neutral_100",
        button_primary_background_fill_hover_dark="white",
        button_primary_text_color_dark="*neutral_900",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="#2a2622",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="#47413c",
        button_border_width="1px",
        slider_color="*primary_500",
        checkbox_background_color_selected="*primary_500",
        checkbox_border_color_selected="*primary_500",
    )
