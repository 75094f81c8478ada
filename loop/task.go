package loop

// A task is work on many connections, which is divided over the turns of a loop: so that it delays
// neither other connections nor timers.
type task interface {
	// do works until the task is complete, and returns true, or until b is over, and returns
	// false: then it is called again in the next turn.
	do(b *budget) (complete bool)
}

// addTask adds a task, to be done from this turn on, or the next. Only the loop may call it.
func (l *Loop) addTask(t task) { l.tasks.push(t) }

// doTasks does tasks for up to turnBudget. They take turns: one that has used up the budget is the
// last in the next turn.
func (l *Loop) doTasks() {
	l.taskTime = l.newBudget()
	l.taskTime.begin()
	for n := len(l.tasks.items) - l.tasks.at; n > 0 && !l.taskTime.over(); n-- {
		complete := l.tasks.front().do(&l.taskTime) // it stays in the list if a callback ends the goroutine
		if t := l.tasks.pop(); !complete {
			l.tasks.push(t)
		}
	}
}
