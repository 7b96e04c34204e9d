-- Credit applications approved in the window, which is given as wall time in its zone (America/New_York).
-- approved_at is local text, 'YYYY-MM-DD HH:MM:SS', which sorts as time does; the casts make texts of the window's ends
-- where a database has a type for timestamps.
SELECT application_id, customer_id, first_name, last_name, email, secondary_email, phone, country, state, city, zip,
       birth_date, gender, credit_limit, currency_name, product, approved_at, marketing_consent, ltv
FROM credit_application
WHERE approved_at >= CAST(:since AS TEXT)
  AND approved_at < CAST(:until AS TEXT)
