-- Ranges and not hashes: digests are evenly spread, and the service can name the partition of one itself.
CREATE TABLE message_hash.message (
    digest     bytea    NOT NULL CHECK (octet_length(digest) = 32),
    codec      smallint NOT NULL,
    body       bytea    NOT NULL,
    -- Milliseconds since 1970; NULL is never.
    expires_at bigint,
    PRIMARY KEY (digest)
) PARTITION BY RANGE (digest);

DO $$
DECLARE
    digits text := '0123456789abcdef';
    low text;
    high text;
BEGIN
    FOR place IN 0..15 LOOP
        low := CASE place WHEN 0 THEN 'MINVALUE' ELSE format('''\x%s0''', substr(digits, place + 1, 1)) END;
        high := CASE place WHEN 15 THEN 'MAXVALUE' ELSE format('''\x%s0''', substr(digits, place + 2, 1)) END;
        EXECUTE format('CREATE TABLE message_hash.message_%s PARTITION OF message_hash.message FOR VALUES FROM (%s) TO (%s)',
            substr(digits, place + 1, 1), low, high);
    END LOOP;
END $$;

-- The service compresses bodies itself.
ALTER TABLE message_hash.message ALTER body SET STORAGE EXTERNAL;

CREATE INDEX message_expiry ON message_hash.message (expires_at) WHERE expires_at IS NOT NULL;
