-- Fields: refuses JSON bodies with an unknown field, or with a field twice. Envoy's transcoder would silently drop the
-- first and use the last of the second. It also accepts text that is not JSON, which could hide a field, so this script
-- refuses everything that is not valid JSON (RFC 8259), and reports its position. It also refuses unknown parameters in
-- the query, for which the transcoder's message has the name of a type.
--
-- `gateway/render.py` writes the constant SHAPES before this text: for each kind of message, a list of its fields, each
-- with name, lowerCamelCase name, kind, and the largest number of items (0: any number; see `gateway/fields.py`). One call
-- does a bounded amount of work for any body.

local MAX_DEPTH = 40
local MAX_STEPS = 200000 -- bounds what `max_elements` does not: escapes in strings
local MAX_VIOLATIONS = 10
local MAX_NAME = 60

local byte, find, sub = string.byte, string.find, string.sub
local QUOTE, BACKSLASH, COMMA, COLON = byte('"'), byte("\\"), byte(","), byte(":")
local OPEN, CLOSE, OPEN_LIST, CLOSE_LIST = byte("{"), byte("}"), byte("["), byte("]")

-- The character after a backslash in a string, and its meaning.
local ESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- The fields of every kind, by both of their names.
local KINDS = {}
for kind, fields in pairs(SHAPES) do
  local by_name = {}
  for _, field in ipairs(fields) do
    local entry = { name = field[1], kind = field[3], max_items = field[4], is_list = field[5] }
    by_name[field[1]], by_name[field[2]] = entry, entry
  end
  KINDS[kind] = by_name
end

-- Encodes a Unicode code point in UTF-8.
local function utf8_character(point)
  if point < 0x80 then
    return string.char(point)
  elseif point < 0x800 then
    return string.char(0xc0 + math.floor(point / 64), 0x80 + point % 64)
  end
  return string.char(0xe0 + math.floor(point / 4096), 0x80 + math.floor(point / 64) % 64, 0x80 + point % 64)
end

-- Decodes the escapes of a JSON string.
local function unescape(text)
  if not find(text, "\\", 1, true) then
    return text
  end
  text = text:gsub("\\u(%x%x%x%x)", function(digits) return utf8_character(tonumber(digits, 16)) end)
  return (text:gsub("\\(.)", ESCAPES))
end

-- The error that ends parsing early, once enough violations are found.
local ENOUGH = {}

-- Ends parsing: the text is not JSON at byte `at`.
local function fail(at, message)
  error({ at = at, message = message }, 0)
end

-- Returns the edit distance of two words; a swap of neighbouring letters counts once.
local function edit_distance(one, other)
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

-- Returns the names of a kind's fields without those of `excluded`, and the one that is nearest to `name`.
local function find_names(kind, name, excluded)
  local names, nearest, least = {}, nil, math.max(2, math.floor(#name / 4)) + 1
  for _, field in ipairs(SHAPES[kind] or {}) do
    if not excluded[field[1]] then
      names[#names + 1] = field[1]
      local distance = #name <= MAX_NAME and edit_distance(name:lower(), field[1]) or least
      if distance < least then
        nearest, least = field[1], distance
      end
    end
  end
  return names, nearest
end

-- Describes an unknown field: suggests the nearest name, or else lists all.
local function describe_unknown(kind, name)
  local names, nearest = find_names(kind, name, {})
  if nearest ~= nil then
    return ("is no field; did you mean `%s`?"):format(nearest)
  elseif #names == 0 then
    return "is no field: this body has no fields"
  end
  return "is no field; the fields are " .. table.concat(names, ", ")
end

-- A parser of one body.
local Parser = {}
Parser.__index = Parser

function Parser:step(at)
  self.steps = self.steps + 1
  if self.steps > MAX_STEPS then
    fail(at, "it holds too many values")
  end
end

-- Returns the path of the value being parsed, such as `clips[0].url`, with `name` at its end if there is one.
function Parser:field_path(name, depth)
  local parts = {}
  for level = 1, depth do
    local part = self.path[level]
    if type(part) == "number" then
      parts[#parts + 1] = "[" .. part .. "]"
    elseif part ~= nil then
      parts[#parts + 1] = (#parts > 0 and "." or "") .. part
    end
  end
  if name == nil then
    return table.concat(parts)
  elseif #name > MAX_NAME then
    name = sub(name, 1, MAX_NAME) .. "..."
  end
  return table.concat(parts) .. (#parts > 0 and "." or "") .. name
end

function Parser:add_violation(name, description)
  if #self.violations < MAX_VIOLATIONS then
    self.violations[#self.violations + 1] = { field = self:field_path(name, self.depth), description = sub(description, 1, 200) }
  else
    error(ENOUGH, 0)
  end
end

-- Checks whether the value that begins at `at` is a list, an object or a single value as its field is. The transcoder's
-- message for another form has no place.
function Parser:check_form(at, kind, is_list)
  local code, wanted = byte(self.text, at), nil
  if kind == "any" or sub(self.text, at, at + 3) == "null" then
    return
  elseif is_list then
    wanted = code ~= OPEN_LIST and "must be a list, in brackets" or nil
  elseif kind == "" then
    wanted = (code == OPEN or code == OPEN_LIST) and "must be a single value, not a list or an object" or nil
  else
    wanted = code ~= OPEN and "must be an object, in braces" or nil
  end
  if wanted and #self.violations < MAX_VIOLATIONS then
    self.violations[#self.violations + 1] = { field = self:field_path(nil, self.depth), description = wanted }
  end
end

function Parser:skip_space(at)
  local code = byte(self.text, at)
  if code == 32 or code == 10 or code == 13 or code == 9 then
    return select(2, find(self.text, "^[ \n\r\t]*", at)) + 1
  end
  return at
end

-- Parses the string that begins at `at`. Returns the position of its closing quotation mark.
function Parser:string(at)
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

function Parser:scalar(at)
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

function Parser:list(at, kind, max_items)
  local text, count = self.text, 0
  at = self:skip_space(at + 1)
  if byte(text, at) == CLOSE_LIST then
    return at + 1
  end
  while true do
    if count == max_items then
      local name = self.path[self.depth - 1]
      local place = self:field_path(tostring(name), self.depth - 2)
      table.insert(self.violations, { field = place, description = ("must hold at most %d items"):format(max_items) })
      error(ENOUGH, 0)
    end
    self.path[self.depth] = count
    self:check_form(at, kind, false)
    at = self:skip_space(self:value(at, kind))
    local code = byte(text, at)
    if code == CLOSE_LIST then
      return at + 1
    elseif code ~= COMMA then
      fail(at, "a list needs a comma or its end")
    end
    at, count = self:skip_space(at + 1), count + 1
    if byte(text, at) == CLOSE_LIST then
      fail(at, "a list ends with a comma")
    end
  end
end

function Parser:object(at, kind)
  local text, fields, seen = self.text, KINDS[kind], {}
  at = self:skip_space(at + 1)
  if byte(text, at) == CLOSE then
    return at + 1
  end
  while true do
    if byte(text, at) ~= QUOTE then
      fail(at, "a name must be in quotation marks")
    end
    local stop = self:string(at)
    local written = sub(text, at + 1, stop - 1)
    local name = unescape(written)
    local field = fields and fields[name]
    -- A violation names the path of the object itself.
    self.path[self.depth] = nil
    if fields and not field then
      self:add_violation(written, describe_unknown(kind, name))
    elseif seen[field and field.name or name] then
      self:add_violation(written, "is given twice")
    end
    seen[field and field.name or name] = true
    at = self:skip_space(stop + 1)
    if byte(text, at) ~= COLON then
      fail(at, "a name needs a colon behind it")
    end
    self.path[self.depth] = written
    at = self:skip_space(at + 1)
    local began = at
    if field then
      self:check_form(at, field.kind, field.is_list)
    end
    at = self:value(at, field and field.kind or "any", field and field.max_items > 0 and field.max_items or nil)
    if self.depth == 1 then
      self.first = self.first == nil and { began, at - 1 } or false
    end
    at = self:skip_space(at)
    local code = byte(text, at)
    if code == CLOSE then
      return at + 1
    elseif code ~= COMMA then
      fail(at, "an object needs a comma or its end")
    end
    at = self:skip_space(at + 1)
  end
end

-- Parses one value. Returns the position after it.
function Parser:value(at, kind, max_items)
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
  at = code == OPEN and self:object(at, kind) or self:list(at, kind, max_items)
  self.path[self.depth] = nil
  self.depth = self.depth - 1
  return at
end

-- Parses a whole body of a kind. Raises { at, message } when it is not JSON, and ENOUGH after too many violations.
function Parser:read(kind)
  local at = self:skip_space(1)
  if byte(self.text, at) ~= OPEN then
    fail(at, "it must be an object, in braces")
  end
  at = self:skip_space(self:value(at, kind))
  if at <= #self.text then
    fail(at, "something follows its end")
  end
end

-- Writes a text as a JSON string. Control characters and invalid UTF-8 become question marks.
local function to_json_string(text)
  text = text:gsub("[%z\1-\31\127]", "?"):gsub('["\\]', "\\%0")
  text = text:gsub("[\128-\255]+", function(bytes)
    local rest = bytes:gsub("[\194-\223][\128-\191]", ""):gsub("[\224-\239][\128-\191][\128-\191]", "")
      :gsub("[\240-\244][\128-\191][\128-\191][\128-\191]", "")
    return rest == "" and bytes or "?"
  end)
  return '"' .. text .. '"'
end

-- Sends an error reply with status 400.
local function refuse(handle, message, violations)
  local listed = {}
  for _, violation in ipairs(violations) do
    listed[#listed + 1] = ('{"field": %s, "description": %s}'):format(to_json_string(violation.field), to_json_string(violation.description))
  end
  local details = '{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "REQUEST_INVALID",'
    .. ' "domain": "moneyprinter", "metadata": {}}'
  if #listed > 0 then
    details = details .. ', {"@type": "type.googleapis.com/google.rpc.BadRequest", "field_violations": ['
      .. table.concat(listed, ", ") .. "]}"
  end
  local body = ('{"code": 3, "message": %s, "details": [%s]}'):format(to_json_string(message), details)
  handle:respond({ [":status"] = "400", ["content-type"] = "application/json", ["grpc-status"] = "3" }, body)
end

-- Reports whether a parameter of a query, such as `page_size` or `settings.width`, names a field of a kind.
local function is_parameter(kind, name)
  local path, last = name:match("^(.-)([^.]*)$")
  for part in path:gmatch("[^.]*%.") do
    local field = (KINDS[kind] or {})[sub(part, 1, -2)]
    kind = field and field.kind
  end
  return (KINDS[kind] or {})[last] ~= nil
end

-- Returns violations for the unknown parameters of a path with its query. `excluded` are the fields of the path and the body.
local function check_query(path, kind, excluded)
  local violations, query = {}, path:match("%?(.*)$") or ""
  for pair in query:gmatch("[^&]+") do
    local name = pair:match("^[^=]*"):gsub("+", " ")
    name = name:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
    local field = (KINDS[kind] or {})[name:match("^[^.]*")]
    local is_wrong = #name > MAX_NAME or not is_parameter(kind, name) or excluded[field.name]
    if is_wrong and #violations < MAX_VIOLATIONS then
      local names, nearest = find_names(kind, name, excluded)
      local rest = nearest and ("; did you mean `%s`?"):format(nearest)
        or #names == 0 and ": this path has no parameters" or "; the parameters are " .. table.concat(names, ", ")
      name = #name > MAX_NAME and sub(name, 1, MAX_NAME) .. "..." or name
      violations[#violations + 1] = { field = name, description = sub("is no parameter of this path" .. rest, 1, 200) }
    end
  end
  return violations
end

-- Refuses a request for its violations, of which there is at least one.
local function refuse_violations(handle, violations)
  local more = #violations > 1 and (" (and %d more)"):format(#violations - 1) or ""
  refuse(handle, violations[1].field .. ": " .. violations[1].description .. more, violations)
end

local BODY_EMPTY = "the body names no field; give all fields, since the body replaces everything"

-- Returns line and column of a byte, from 1.
local function line_and_column(text, at)
  local line, began = 1, 1
  for place in text:sub(1, at - 1):gmatch("()\n") do
    line, began = line + 1, place + 1
  end
  return line, at - began + 1
end

function envoy_on_request(handle)
  local route = handle:metadata()
  local unknown = route:get("query") and check_query(handle:headers():get(":path"), route:get("query"), route:get("named")) or {}
  if #unknown > 0 then
    refuse_violations(handle, unknown)
    return
  end
  -- Clients may also send the body as responses show it: inside the field of its message.
  local kind, wrapped, max_elements = route:get("body"), route:get("wrapped"), route:get("max_elements")
  local whole = route:get("whole")
  local body = kind and handle:body()
  if not body or body:length() == 0 then
    if whole then
      refuse(handle, BODY_EMPTY, {})
    end
    return
  end
  local text = body:getBytes(0, body:length())
  -- An element of two bytes costs the transcoder as much as one of a thousand.
  if #text > max_elements and select(2, text:gsub("[%[{,]", "", max_elements + 1)) > max_elements then
    handle:respond({ [":status"] = "413", ["content-type"] = "application/json" }, REPLIES.large.body)
    return
  end
  local is_wrapped = wrapped and not KINDS[kind][wrapped] and find(text, '^%s*{%s*"' .. wrapped .. '"%s*:%s*{')
  if is_wrapped then
    KINDS.wrapped = { [wrapped] = { name = wrapped, kind = kind, max_items = 0 } }
  end
  local parser = setmetatable({ text = text, steps = 0, depth = 0, path = {}, violations = {} }, Parser)
  local is_valid, failure = pcall(parser.read, parser, is_wrapped and "wrapped" or kind)
  local violations = parser.violations
  if not is_valid and failure ~= ENOUGH then
    if type(failure) ~= "table" then
      error(failure)
    end
    local line, column = line_and_column(text, failure.at)
    refuse(handle, ("the body is not JSON at line %d, column %d: %s"):format(line, column, failure.message), {})
  elseif #violations > 0 then
    refuse_violations(handle, violations)
  elseif whole and parser.first == nil then
    refuse(handle, BODY_EMPTY, {})
  elseif is_wrapped and parser.first then
    body:setBytes(sub(text, parser.first[1], parser.first[2]))
  end
end
