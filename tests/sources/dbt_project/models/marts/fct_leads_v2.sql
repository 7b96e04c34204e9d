select application_id as lead_id, approved_at::timestamptz as created_at, email as "E-Mail" from {{ ref('raw_approvals') }}
