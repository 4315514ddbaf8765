"""XMP packets that hold a recipe, for formats without text chunks: JPEG and WebP.

The packet is written in the compact form of the XMP specification (ISO 16684-1) with one property of this package.
"""

import re
from html import escape, unescape

NAMESPACE = "urn:instantstyle:recipe:1:"
"""URI of the property's namespace."""

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description rdf:about="" xmlns:instantstyle="{namespace}">\
<instantstyle:recipe>{recipe}</instantstyle:recipe></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""

_RECIPE = re.compile(rb"<instantstyle:recipe>([^<]*)</instantstyle:recipe>")


def format_xmp(recipe: str) -> bytes:
    """Write a recipe as an XMP packet.

    Args:
        recipe: The recipe as JSON.
    """
    return _PACKET.format(namespace=NAMESPACE, recipe=escape(recipe, quote=False)).encode()


def parse_xmp(packet: object) -> str | None:
    """Read the recipe from an XMP packet, also where another program has added properties.

    No XML parser is used: packets come from strangers, and one element without children is looked for.

    Args:
        packet: What Pillow found in a file; anything but bytes has no recipe.

    Returns:
        The recipe as JSON, or None.
    """
    match = _RECIPE.search(packet) if isinstance(packet, bytes) else None
    try:
        return unescape(match[1].decode()) if match else None
    except UnicodeDecodeError:
        return None
