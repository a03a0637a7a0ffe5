-- Fields: refuses the JSON bodies that hold a field that no contract has, or one field twice. Envoy's transcoder would
-- drop the one without a word and take the last of the other. It also reads forms that are not JSON, in which a field
-- could hide, so all that is not JSON by the letter (RFC 8259) is refused here, with its place.
--
-- `gateway/render.py` writes SHAPES before this text: for each kind of message its fields, as lists of name, lowerCamelCase
-- name, kind, and how many items a list may have, 0 for any number (`gateway/fields.py`). One call does a bounded amount of work, whatever the body is.

local MAX_DEPTH = 40
local MAX_STEPS = 200000 -- beyond what `at_most` bounds: the escapes of texts
local MAX_WRONG = 10
local MAX_NAME = 60

local byte, find, sub = string.byte, string.find, string.sub
local QUOTE, BACKSLASH, COMMA, COLON = byte('"'), byte("\\"), byte(","), byte(":")
local OPEN, CLOSE, OPEN_LIST, CLOSE_LIST = byte("{"), byte("}"), byte("["), byte("]")

-- What follows a backslash in a string, and what it stands for.
local ESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- The fields of every kind, by each of their names.
local KINDS = {}
for kind, fields in pairs(SHAPES) do
  local found = {}
  for _, field in ipairs(fields) do
    local entry = { name = field[1], kind = field[3], most = field[4] }
    found[field[1]], found[field[2]] = entry, entry
  end
  KINDS[kind] = found
end

-- A character of Unicode in UTF-8.
local function character(point)
  if point < 0x80 then
    return string.char(point)
  elseif point < 0x800 then
    return string.char(0xc0 + math.floor(point / 64), 0x80 + point % 64)
  end
  return string.char(0xe0 + math.floor(point / 4096), 0x80 + math.floor(point / 64) % 64, 0x80 + point % 64)
end

-- What the inside of a string of JSON stands for.
local function plain(text)
  if not find(text, "\\", 1, true) then
    return text
  end
  text = text:gsub("\\u(%x%x%x%x)", function(digits) return character(tonumber(digits, 16)) end)
  return (text:gsub("\\(.)", ESCAPES))
end

-- Ends a walk that has seen enough.
local ENOUGH = {}

local function fail(at, words)
  error({ at = at, words = words }, 0)
end

-- How many letters must change for one word to become another; letters that change places count once.
local function distance(one, other)
  local before, last, row = {}, {}, {}
  for j = 0, #other do
    last[j] = j
  end
  for i = 1, #one do
    row = { [0] = i }
    for j = 1, #other do
      local same = byte(one, i) == byte(other, j)
      local least = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and byte(one, i) == byte(other, j - 1) and byte(one, i - 1) == byte(other, j) then
        least = math.min(least, before[j - 2] + 1)
      end
      row[j] = least
    end
    before, last = last, row
  end
  return last[#other]
end

-- What may have been meant by a name: the nearest field, or else all of them.
local function advice(kind, name)
  local names, nearest, least = {}, nil, math.max(2, math.floor(#name / 4)) + 1
  for _, field in ipairs(SHAPES[kind] or {}) do
    names[#names + 1] = field[1]
    local away = #name <= MAX_NAME and distance(name:lower(), field[1]) or least
    if away < least then
      nearest, least = field[1], away
    end
  end
  if nearest ~= nil then
    return ("is no field; did you mean `%s`?"):format(nearest)
  elseif #names == 0 then
    return "is no field: nothing is taken here"
  end
  return "is no field; there are " .. table.concat(names, ", ")
end

-- One walk through a body.
local Walk = {}
Walk.__index = Walk

function Walk:step(at)
  self.steps = self.steps + 1
  if self.steps > MAX_STEPS then
    fail(at, "it holds too many values")
  end
end

-- The place of what is being read, as people write it, with a name in it at its end.
function Walk:place(name, depth)
  local parts = {}
  for level = 1, depth do
    local part = self.path[level]
    if type(part) == "number" then
      parts[#parts + 1] = "[" .. part .. "]"
    elseif part ~= nil then
      parts[#parts + 1] = (#parts > 0 and "." or "") .. part
    end
  end
  if #name > MAX_NAME then
    name = sub(name, 1, MAX_NAME) .. "..."
  end
  return table.concat(parts) .. (#parts > 0 and "." or "") .. name
end

function Walk:wrong(name, words)
  if #self.violations < MAX_WRONG then
    self.violations[#self.violations + 1] = { field = self:place(name, self.depth), description = sub(words, 1, 200) }
  else
    error(ENOUGH, 0)
  end
end

function Walk:space(at)
  local code = byte(self.text, at)
  if code == 32 or code == 10 or code == 13 or code == 9 then
    return select(2, find(self.text, "^[ \n\r\t]*", at)) + 1
  end
  return at
end

-- The place of the quotation mark that ends a string; `at` is that of the one that begins it.
function Walk:string(at)
  local text, from = self.text, at + 1
  while true do
    local stop = find(text, '[%z\1-\31"\\]', from)
    local code = stop and byte(text, stop)
    if code == QUOTE then
      return stop
    elseif code ~= BACKSLASH then
      fail(stop or at, stop and "a string holds a control character" or "a string does not end")
    end
    self:step(at)
    if find(text, "^u%x%x%x%x", stop + 1) then
      from = stop + 6
    elseif ESCAPES[sub(text, stop + 1, stop + 1)] then
      from = stop + 2
    else
      fail(stop, "a string holds a backslash that escapes nothing")
    end
  end
end

function Walk:scalar(at)
  local text = self.text
  local _, stop = find(text, "^[%w+%-.]+", at)
  local word = stop and sub(text, at, math.min(stop, at + 400)) or ""
  if word == "true" or word == "false" or word == "null" then
    return stop + 1
  end
  local whole, rest = word:match("^%-?(%d+)(.*)$")
  local is_number = whole ~= nil and (whole == "0" or byte(whole) ~= 48)
    and (rest == "" or find(rest, "^%.%d+$") or find(rest, "^[eE][+-]?%d+$") or find(rest, "^%.%d+[eE][+-]?%d+$"))
  if not is_number then
    fail(at, stop and "a value is neither quoted nor a number, true, false or null" or "a value is missing")
  end
  return stop + 1
end

function Walk:list(at, kind, most)
  local text, count = self.text, 0
  at = self:space(at + 1)
  if byte(text, at) == CLOSE_LIST then
    return at + 1
  end
  while true do
    if count == most then
      local name = self.path[self.depth - 1]
      local place = self:place(tostring(name), self.depth - 2)
      table.insert(self.violations, { field = place, description = ("must hold at most %d items"):format(most) })
      error(ENOUGH, 0)
    end
    self.path[self.depth] = count
    at = self:space(self:value(at, kind))
    local code = byte(text, at)
    if code == CLOSE_LIST then
      return at + 1
    elseif code ~= COMMA then
      fail(at, "a list needs a comma or its end")
    end
    at, count = self:space(at + 1), count + 1
    if byte(text, at) == CLOSE_LIST then
      fail(at, "a list ends with a comma")
    end
  end
end

function Walk:object(at, kind)
  local text, fields, seen = self.text, KINDS[kind], {}
  at = self:space(at + 1)
  if byte(text, at) == CLOSE then
    return at + 1
  end
  while true do
    if byte(text, at) ~= QUOTE then
      fail(at, "a name must be in quotation marks")
    end
    local stop = self:string(at)
    local written = sub(text, at + 1, stop - 1)
    local name = plain(written)
    local field = fields and fields[name]
    -- The place is that of the object itself.
    self.path[self.depth] = nil
    if fields and not field then
      self:wrong(written, advice(kind, name))
    elseif seen[field and field.name or name] then
      self:wrong(written, "is given twice")
    end
    seen[field and field.name or name] = true
    at = self:space(stop + 1)
    if byte(text, at) ~= COLON then
      fail(at, "a name needs a colon behind it")
    end
    self.path[self.depth] = written
    at = self:space(at + 1)
    local began = at
    at = self:value(at, field and field.kind or "any", field and field.most > 0 and field.most or nil)
    if self.depth == 1 then
      self.first = self.first == nil and { began, at - 1 } or false
    end
    at = self:space(at)
    local code = byte(text, at)
    if code == CLOSE then
      return at + 1
    elseif code ~= COMMA then
      fail(at, "an object needs a comma or its end")
    end
    at = self:space(at + 1)
  end
end

-- Reads one value; returns where the next thing begins.
function Walk:value(at, kind, most)
  self:step(at)
  local code = byte(self.text, at)
  if code == QUOTE then
    return self:string(at) + 1
  elseif code ~= OPEN and code ~= OPEN_LIST then
    return self:scalar(at)
  elseif self.depth == MAX_DEPTH then
    fail(at, "it is nested too deeply")
  end
  self.depth = self.depth + 1
  at = code == OPEN and self:object(at, kind) or self:list(at, kind, most)
  self.path[self.depth] = nil
  self.depth = self.depth - 1
  return at
end

-- Reads a whole body of a kind. Raises { at, words } when it is no JSON, and ENOUGH when more need not be read.
function Walk:read(kind)
  local at = self:space(1)
  if byte(self.text, at) ~= OPEN then
    fail(at, "it must be an object, in braces")
  end
  at = self:space(self:value(at, kind))
  if at <= #self.text then
    fail(at, "something follows its end")
  end
end

-- A text as JSON. What is not UTF-8 or a control character is shown as a question mark.
local function quoted(text)
  text = text:gsub("[%z\1-\31\127]", "?"):gsub('["\\]', "\\%0")
  text = text:gsub("[\128-\255]+", function(bytes)
    local rest = bytes:gsub("[\194-\223][\128-\191]", ""):gsub("[\224-\239][\128-\191][\128-\191]", "")
      :gsub("[\240-\244][\128-\191][\128-\191][\128-\191]", "")
    return rest == "" and bytes or "?"
  end)
  return '"' .. text .. '"'
end

local function refuse(handle, message, violations)
  local listed = {}
  for _, violation in ipairs(violations) do
    listed[#listed + 1] = ('{"field": %s, "description": %s}'):format(quoted(violation.field), quoted(violation.description))
  end
  local details = '{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "REQUEST_INVALID",'
    .. ' "domain": "moneyprinter", "metadata": {}}'
  if #listed > 0 then
    details = details .. ', {"@type": "type.googleapis.com/google.rpc.BadRequest", "field_violations": ['
      .. table.concat(listed, ", ") .. "]}"
  end
  local body = ('{"code": 3, "message": %s, "details": [%s]}'):format(quoted(message), details)
  handle:respond({ [":status"] = "400", ["content-type"] = "application/json", ["grpc-status"] = "3" }, body)
end

local NAMES_NOTHING = "the body names no field; give the whole of what shall hold from now on"

-- Line and column of a byte, from 1.
local function line_and_column(text, at)
  local line, began = 1, 1
  for place in text:sub(1, at - 1):gmatch("()\n") do
    line, began = line + 1, place + 1
  end
  return line, at - began + 1
end

function envoy_on_request(handle)
  local route = handle:metadata()
  -- What is one field of a message may also be sent as answers print it, in that field.
  local kind, wrapped, at_most = route:get("body"), route:get("wrapped"), route:get("at_most")
  local whole = route:get("whole")
  local body = kind and handle:body()
  if not body or body:length() == 0 then
    if whole then
      refuse(handle, NAMES_NOTHING, {})
    end
    return
  end
  local text = body:getBytes(0, body:length())
  -- JSON costs the transcoder as much for an element of two bytes as for one of a thousand.
  if #text > at_most and select(2, text:gsub("[%[{,]", "", at_most + 1)) > at_most then
    handle:respond({ [":status"] = "413", ["content-type"] = "application/json" }, REPLIES.large.body)
    return
  end
  local is_wrapped = wrapped and not KINDS[kind][wrapped] and find(text, '^%s*{%s*"' .. wrapped .. '"%s*:%s*{')
  if is_wrapped then
    KINDS.wrapped = { [wrapped] = { name = wrapped, kind = kind, most = 0 } }
  end
  local walk = setmetatable({ text = text, steps = 0, depth = 0, path = {}, violations = {} }, Walk)
  local read_well, failure = pcall(walk.read, walk, is_wrapped and "wrapped" or kind)
  local violations = walk.violations
  if not read_well and failure ~= ENOUGH then
    if type(failure) ~= "table" then
      error(failure)
    end
    local line, column = line_and_column(text, failure.at)
    refuse(handle, ("the body is no JSON at line %d, column %d: %s"):format(line, column, failure.words), {})
  elseif #violations > 0 then
    local more = #violations > 1 and (" (and %d more)"):format(#violations - 1) or ""
    refuse(handle, violations[1].field .. ": " .. violations[1].description .. more, violations)
  elseif whole and walk.first == nil then
    refuse(handle, NAMES_NOTHING, {})
  elseif is_wrapped and walk.first then
    body:setBytes(sub(text, walk.first[1], walk.first[2]))
  end
end
