-- Processes, by the shell.
print(os.execute())
local pipe = io.popen("echo one; echo two; exit 3")
for line in pipe:lines() do print("popen: " .. line) end
print(pipe:close())
pipe = io.popen("cat", "w")
pipe:write("to cat\n")
print(pipe:close())
print(os.execute("exit 4"))
print(os.execute("kill -9 $$"))
print(os.execute("true"))