-- trees.lua - trees, tables and strings that come and go.
--
-- SPDX-License-Identifier: BSD-2-Clause

local function tree(depth)
	if depth == 0 then
		return {}
	end
	return {tree(depth - 1), tree(depth - 1)}
end

local function count(node)
	return node[1] and 1 + count(node[1]) + count(node[2]) or 1
end

local total, words = 0, {}
local kept = tree(15)
for round = 1, 24 do
	total = total + count(tree(12))
	for i = 1, 4000 do
		local key = ("word%d"):format(i * round % 9973)
		words[key] = (words[key] or "") .. key:sub(1, i % 7)
		if #words[key] > 100 then
			words[key] = nil
		end
	end
end
print(total, count(kept))
