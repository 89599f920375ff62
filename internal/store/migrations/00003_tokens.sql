-- +goose Up

-- What models that generate text have read and written.
ALTER TABLE usage ADD COLUMN prompt_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN answer_tokens INTEGER NOT NULL DEFAULT 0;
