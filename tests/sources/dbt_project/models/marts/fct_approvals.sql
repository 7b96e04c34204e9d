select
    application_id::varchar as application_id,
    approved_at::timestamp as approved_at,
    email::varchar as email,
    phone::varchar as contact,
    country_code::varchar as country_code,
    credit_limit::decimal(12, 2) as credit_limit,
    marketing_consent::boolean as marketing_consent
from {{ ref('stg_approvals') }}
