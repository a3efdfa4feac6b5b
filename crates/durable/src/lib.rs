//! A durable table: redb behind a timerless group commit.
