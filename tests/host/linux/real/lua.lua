-- Coroutines, files, processes, the collector, strings: what a script asks of its system.
local function section(name) print("-- " .. name) end

section("coroutines")
local function numbers(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
local sum = 0
for i in numbers(1000) do sum = sum + i end
print(sum)
local co = coroutine.create(function(a, b)
  local c = coroutine.yield(a + b)
  error({ code = c })
end)
print(coroutine.resume(co, 1, 2))
local ok, err = coroutine.resume(co, 42)
print(ok, err.code, coroutine.status(co))
local many = {}
for i = 1, 2000 do many[i] = coroutine.create(function() return coroutine.yield(i) end) end
sum = 0
for _, one in ipairs(many) do local _, v = coroutine.resume(one); sum = sum + v end
print(sum)

section("files")
local name = "things.txt"
local file = assert(io.open(name, "w"))
file:setvbuf("full", 1024)
for i = 1, 500 do file:write(i, " ", i * i, "\n") end
print(file:seek("cur"), file:seek("set", 2), file:write("X"), file:close())
file = assert(io.open(name))
print(file:read("l", "n", "n", "L"))
file:seek("end", -8)
print(file:read("a"))
file:close()
local count = 0
for line in io.lines(name) do count = count + #line end
print(count)
print(os.rename(name, "other.txt"), io.open(name))
print(os.remove("other.txt"), os.remove("other.txt"))
local temporary = io.tmpfile()
temporary:write("temp"); temporary:seek("set"); print(temporary:read("a")); temporary:close()
local unique = os.tmpname()
print(unique:sub(1, 9), os.remove(unique))
print(pcall(io.lines, "nothing"))

section("environment")
print(os.getenv("HOME") ~= nil, os.getenv("NOTHING"))

section("collector")
local weak = setmetatable({}, { __mode = "k" })
local closed = 0
for i = 1, 10000 do
  weak[{}] = i
  setmetatable({}, { __gc = function() closed = closed + 1 end })
end
collectgarbage()
local left = 0
for _ in pairs(weak) do left = left + 1 end
print(left, closed, collectgarbage("count") < 10000)
do
  local guard <close> = setmetatable({}, { __close = function() print("closed") end })
end

section("strings")
print(("%5.2f|%x|%q|%s"):format(3.14159, 255, 'a\n"b"', nil))
print(("key = value"):match("^(%w+)%s*=%s*(%w+)$"))
print(("hello world"):gsub("o", { o = "0" }))
print(string.pack("<i4z", 7, "abc"):byte(1, -1))
print(utf8.char(228, 8364), utf8.len("äö"))
print(table.concat({ 1, 2, 3 }, "-"), select("#", table.unpack({ 1, nil, 3 }, 1, 3)))
local list = {}
for i = 1, 5000 do list[i] = (i * 7919) % 5003 end
table.sort(list)
print(list[1], list[2500], list[5000])

section("numbers")
print(7 // 2, -7 // 2, 7 % -3, 2 ^ 10, 1 / 0, math.maxinteger + 1 == math.mininteger, 3 | 4, "10" + 5)
print(math.floor(-3.5), math.tointeger(3.0), math.type(1), math.type(1.0), string.format("%.14g", math.pi))
print(pcall(function() return 1 // 0 end))

section("errors")
print(pcall(error, "plain", 0))
print(select(2, pcall(function() local x = nil; return x.field end)))
local function deep(n) return n == 0 and 0 or 1 + deep(n - 1) end
print(deep(10000), (select(2, pcall(function() local function f() return 1 + f() end return f() end))):match("stack overflow"))
print(load("return 1 +")) 
print(os.time({ year = 2020, month = 1, day = 1, hour = 12 }), os.date("!%Y-%m-%d", 0), os.clock() >= 0)
io.stderr:write("to stderr\n")
os.exit(5, true)
