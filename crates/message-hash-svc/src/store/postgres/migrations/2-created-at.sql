-- For people: the service does not read it. Rows that are there get the moment of this statement, without being written.
ALTER TABLE message_hash.message ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();
