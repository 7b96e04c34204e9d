"""The texts of a good configuration folder, for tests to spoil."""

CLIENTS = """
platform: {partner_agent: datapartner}
clients:
  acme_bank: {pixel_id: "1200000000000001", token: {env: ACME_BANK_TOKEN}}
  corner_shop: {pixel_id: "1200000000000002", token: {env: CORNER_SHOP_TOKEN}}
"""

UPLOAD = """
client: acme_bank
source: {path: approvals.csv}
window: {column: approved_at, timezone: America/New_York}
event: {name: CreditApproval, id: "approval-{application_id}", action_source: system_generated}
user_data: {em: email}
"""
