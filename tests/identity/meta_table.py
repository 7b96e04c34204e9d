"""The table of meta-capi.md 2.3: key, value, country, canonical form, what the SDK and the parameter builder give.

``None`` is "drop"; ``RAISES`` stands where the SDK raises. ``country`` is what the row means by "needs region".
"""

from __future__ import annotations

from typing import NamedTuple

RAISES = None


class Row(NamedTuple):
    key: str
    value: str
    canonical: str | None
    sdk: str | None
    builder: str | None
    country: str | None = None


MD5 = "d41d8cd98f00b204e9800998ecf8427e"

TABLE = [
    Row("em", "John_Smith@gmail.com", "john_smith@gmail.com", "john_smith@gmail.com", "john_smith@gmail.com"),
    Row("em", "  Jane.Doe+tag@Example.COM ", "jane.doe+tag@example.com", "jane.doe+tag@example.com",
        "jane.doe+tag@example.com"),
    Row("em", "a b@c.de", None, "a b@c.de", None),
    Row("em", "foo@bar", None, RAISES, None),
    Row("em", "mailto:a@b.co", None, "mailto:a@b.co", None),
    Row("em", MD5, None, MD5, None),
    Row("ph", "(650)555-1212", "16505551212", "6505551212", "6505551212", "US"),
    Row("ph", "+1 (650) 555-1212", "16505551212", "16505551212", "16505551212"),
    Row("ph", "0016505551212", "16505551212", "16505551212", "16505551212"),
    Row("ph", "0016505551212", "16505551212", "16505551212", "16505551212", "US"),
    Row("ph", "011 44 20 7946 0958", "442079460958", "11442079460958", "11442079460958", "US"),
    Row("ph", "011 44 20 7946 0958", "442079460958", "11442079460958", "11442079460958"),
    Row("ph", "+44 20 7946 0958", "442079460958", "442079460958", "442079460958"),
    Row("ph", "020 7946 0958", "442079460958", "2079460958", "2079460958", "GB"),
    Row("ph", "+44 (0)20 7946 0958", "442079460958", "4402079460958", "4402079460958"),
    Row("ph", "+39 06 6982 1234", "390669821234", "390669821234", "390669821234"),
    Row("ph", "650.555.1212", "16505551212", RAISES, "6505551212", "US"),
    Row("ph", "+1-650-555-1212 ext 5", "16505551212", RAISES, "165055512125"),
    Row("ph", "+65 6123 4567", "6561234567", "6561234567", "6561234567"),
    Row("ph", "0000000000", None, RAISES, None),
    Row("fn", "Mary", "mary", "mary", "mary"),
    Row("fn", " Mary Ann ", "maryann", "mary ann", "maryann"),
    Row("fn", "Mary-Ann", "maryann", "mary-ann", "maryann"),
    Row("ln", "O'Brien", "obrien", "o'brien", "obrien"),
    Row("fn", "Valéry", "valéry", "valéry", "valéry"),
    Row("fn", "Vale\u0301ry", "valéry", "vale\u0301ry", "vale\u0301ry"),
    Row("fn", "정", "정", "정", "정"),
    Row("fn", "Dr. John", "drjohn", "dr. john", "drjohn"),
    Row("ct", "New York", "newyork", "newyork", "newyork"),
    Row("ct", "St. Louis", "stlouis", "stlouis", "stlouis"),
    Row("ct", "Washington, D.C.", "washingtondc", "washington,dc", "washingtondc"),
    Row("ct", "L'Aquila", "laquila", "l'aquila", "laquila"),
    Row("ct", "München", "münchen", "münchen", "mnchen"),
    Row("ct", "東京", "東京", "東京", None),
    Row("st", "CA", "ca", "ca", "ca"),
    Row("st", "California", "ca", "california", "ca"),
    Row("st", "California", "ca", "california", "ca", "US"),
    Row("st", "Île-de-France", "îledefrance", "îledefrance", "le"),
    Row("st", "Île-de-France", "îledefrance", "îledefrance", "le", "FR"),
    Row("st", "NSW", "nsw", "nsw", "ns"),
    Row("st", "NSW", "nsw", "nsw", "ns", "AU"),
    Row("zp", "94035", "94035", "94035", "94035"),
    Row("zp", "94035-1234", "94035", "94035", "94035"),
    Row("zp", "940351234", "94035", "940351234", "940351234"),
    Row("zp", "00501", "00501", "00501", "00501"),
    Row("zp", "M1 1AE", "m11ae", "m11ae", "m1 1ae"),
    Row("zp", "SW1A 1AA", "sw1a1aa", "sw1a1aa", "sw1a 1aa"),
    Row("zp", "1234-567", "1234567", "1234", "1234"),
    Row("zp", "1234-567", "1234567", "1234", "1234", "PT"),
    Row("zp", "100-0001", "1000001", "100", "100", "JP"),
    Row("country", "US", "us", "us", "us"),
    Row("country", "USA", "us", RAISES, "us"),
    Row("country", "UK", "gb", RAISES, "uk"),
    Row("country", "Germany", "de", RAISES, "de"),
    Row("db", "2/16/1997", "19970216", "2/16/1997", "19970216"),
    Row("db", "1997-02-16", "19970216", "1997-02-16", "19970216"),
    Row("db", "3/4/1997", None, "3/4/1997", "19970304"),
    Row("ge", "F", "f", "f", "f"),
    Row("ge", "Female", "f", "female", "f"),
    Row("external_id", "User_123", "User_123", "User_123", "user_123"),
]  # fmt: skip

# SHA-256 as printed in the same table, computed elsewhere.
DIGESTS = {
    "john_smith@gmail.com": "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f",
    "jane.doe+tag@example.com": "8101946a0077cd088acbd285eee6dc951bdceb074b6fe136427a1a8768760d33",
    "16505551212": "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176",
    "442079460958": "35e206e5dec4c89b9e8b71b8c32724a5bb518483ac5a20c6617d738375b3b823",
    "390669821234": "467029093e0098559a35e1b10c86434ab58c0b98384e0a98cb0aa40a8b22328e",
    "6561234567": "6c3a4a3431489f35d49ab2c983f80d8fc25c00e06da2d83c3c5973a50f00055b",
    "mary": "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec",
    "maryann": "16b3f07f0ec2f9dd127b71dc2e6c791b7d93116a1c3bc99d057eaa7a8a077e73",
    "obrien": "b4cb6cb33fe4b865868de825023a1e2790dc12ac01ecc8d7c5afe8254071c8ba",
    "valéry": "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c",
    "정": "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14",
    "drjohn": "670f311ae7efce434f9f595a516c4bb6194a372420416bce70304104e25b0f5f",
    "newyork": "350c754ba4d38897693aa077ef43072a859d23f613443133fecbbd90a3512ca5",
    "stlouis": "8ba24bdf99947996f3000259be455de791b06fcc0e802ce05031030df1ee8ea3",
    "washingtondc": "911fa18df8b2a4ff2652c32a0efa25516115d6fb0170849a41f38113e5371fe0",
    "laquila": "6b47947459d80bfbc871802f252f8b5a0b5062eed3cb13ba6596b95e161feca1",
    "münchen": "f75c175f552c8b2bf46ef4b282ee782c81cf8687f66a8fe8278cc56fa727503e",
    "東京": "130016b2599bf7e5978cae78e528c67f29aa47eaa2490ffedd729df334a2790c",
    "ca": "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126",
    "îledefrance": "7f2f97f2a36f4cae0d099b382c08f83ec00532733befa7a2831942ab70360a48",
    "nsw": "d3ef3c33db1fb92a87bc9b67e495a01e181a1c47c22e3aa32158e4500eeab448",
    "94035": "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e",
    "00501": "6c4a28966d10ff33ff7ca554dfaf73b4e95c205257aab5ced32abb442dcc1114",
    "m11ae": "1dc694c2070e697769fb959b50671d76cafd430d8ca191fbdd0affcaea344ac5",
    "sw1a1aa": "830e1d4b9838bab1f5c2acdb23e0b502ff13a9832c4632e8d67a1d43d3b7f614",
    "1234567": "8bb0cf6eb9b17d0f7d22b456f121257dc1254e1f01665370476383ea776df414",
    "1000001": "443372db1ff98d9737596b4f83a8381ab6aab60e44e29854b48be88c74cdf1f0",
    "us": "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621",
    "gb": "0b407281768f0e833afef47ed464b6571d01ca4d53c12ce5c51d1462f4ad6677",
    "de": "959a45d44e6fcf58361ed004681556fe50129f2109e817dec098c00c9e5d2578",
    "19970216": "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c",
    "f": "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111",
    "User_123": "e40649be2376c2d87395d79091b082b7313f8326a4d9c27da52dec8253eaca92",
}
