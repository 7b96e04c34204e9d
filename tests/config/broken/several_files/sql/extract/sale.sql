SELECT 1 WHERE a >= :since_utc AND a < :until_utc
