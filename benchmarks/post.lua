-- What wrk sends: one small chat request, the same each time.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-benchmark"
wrk.body = '{"model":"chat","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"Which planet of the solar system is the largest, and how large is it compared with ours?"}],"temperature":0.2}'
