"""The method. Read pipeline, style, content_removal, ip_adapter and attention_processor, in this order."""
