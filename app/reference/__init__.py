"""The reference pages and the sample file, written from the code they describe."""
