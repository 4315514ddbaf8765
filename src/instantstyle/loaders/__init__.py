"""Files of weights: IP-Adapters (layouts, types, partial reading, conversion), LoRAs, and other changes of a model."""
