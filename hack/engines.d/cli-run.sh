# The life of a container as a user knows it. For Docker and Podman.

# short
check_run_prints() { is "$(d run --rm "$IMAGE" echo hello)" hello; }

# short
check_run_exit_code_0() { ends 0 d run --rm "$IMAGE" true; }
