"""IP-Adapter files: layouts, types, partial reading and conversion."""
