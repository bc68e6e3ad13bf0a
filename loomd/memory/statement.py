"""What the items of a memory's file are asked and told in SQL. Called by `shelf`."""

INSERT = """INSERT INTO item (
    id, home, key, text, what, level, scope, importance, tokens, created, told, agent, tenant, user, session, task,
    step, absorbed, replaces, next_home, said, also, count)
VALUES (
    :id, :home, :key, :text, :what, :level, :scope, :importance, :tokens, :created, :told, :agent, :tenant, :user,
    :session, :task, :step, :absorbed, :replaces, :next_home, :said, :also, :count)"""
UPDATE = """UPDATE item SET importance = :importance, created = :created, told = :told, agent = :agent,
    tenant = :tenant, user = :user, session = :session, task = :task, step = :step, absorbed = :absorbed,
    replaces = :replaces, also = :also, count = :count WHERE id = :id"""
REFILL = INSERT.replace("INSERT", "INSERT OR IGNORE", 1)
UNMADE = """SELECT row, text FROM item WHERE NOT EXISTS (
    SELECT 1 FROM vector WHERE vector.item = item.row AND made_by = ?) ORDER BY row LIMIT ?"""
UNMADE_OF = UNMADE.replace("WHERE", "WHERE row IN (SELECT value FROM json_each(?)) AND", 1)
MARKS = """WITH RECURSIVE mark (name) AS (
    SELECT min(made_by) FROM vector UNION ALL
    SELECT (SELECT min(made_by) FROM vector WHERE made_by > name) FROM mark WHERE name IS NOT NULL)
    SELECT name FROM mark WHERE name IS NOT NULL"""
"""The fingerprints of which there are vectors, each found by one look at an index."""
MEANT = """SELECT * FROM item WHERE id > :after
    AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
    AND (:scope IS NULL OR scope = :scope) AND (:level IS NULL OR level = :level)
    AND ((:agent IS NULL OR agent = :agent) AND (:tenant IS NULL OR tenant = :tenant)
        AND (:user IS NULL OR user = :user) AND (:session IS NULL OR session = :session)
        AND (:task IS NULL OR task = :task)
        OR also != '[]' AND EXISTS (SELECT 1 FROM json_each(also) AS one
            WHERE (:agent IS NULL OR ifnull(json_extract(one.value, '$.agent'), '') = :agent)
            AND (:tenant IS NULL OR ifnull(json_extract(one.value, '$.tenant'), '') = :tenant)
            AND (:user IS NULL OR ifnull(json_extract(one.value, '$.user'), '') = :user)
            AND (:session IS NULL OR ifnull(json_extract(one.value, '$.session'), '') = :session)
            AND (:task IS NULL OR ifnull(json_extract(one.value, '$.task'), '') = :task)))
    ORDER BY id LIMIT :most"""
SAME = """SELECT * FROM item WHERE home = :home AND key = :key UNION ALL
    SELECT * FROM item WHERE home = :home AND said = :said LIMIT 1"""
ALIKE = """SELECT * FROM item WHERE key IN (SELECT value FROM json_each(?))
    OR said IN (SELECT value FROM json_each(?)) OR id IN (SELECT value FROM json_each(?))"""
REPLACED = """INSERT INTO replaced VALUES (?, ?, ?)
    ON CONFLICT (name, summary) DO UPDATE SET told = max(told, excluded.told)"""
