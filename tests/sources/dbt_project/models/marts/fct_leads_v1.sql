select application_id as lead_id, approved_at as created_at, email from {{ ref('raw_approvals') }}
