"""The records that cross topics, one file each. Encoders and decoders are exact inverses."""
