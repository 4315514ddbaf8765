"""What acts in attention layers: `interface` has the one interface, the other modules one method each."""
